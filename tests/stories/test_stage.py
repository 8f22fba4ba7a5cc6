"""Stage: a node's own disk is filled before a job, from the nearest source; a second call finds everything there."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from preheat import api
from preheat.api.staging.stage import StageTerms
from tests.command import Preheat
from tests.flaky_hub import WEIGHTS, FlakyHub
from tests.line import Line
from tests.mirroring import mirroring
from tests.stories.disk import disk
from tests.stories.staging import RECIPE, away, size, staged
from tests.stories.two_machines import NOWHERE, locked


@pytest.fixture
def app(preheat: Preheat) -> Preheat:
    """A shared library that has a locked app."""
    return locked(preheat, RECIPE)


def test_files_come_from_the_shared_library_without_a_hub(app: Preheat, model: Path) -> None:
    away(app)
    told = staged(app)
    assert told.status == 0, told.out
    assert (told.last["fetched"], told.last["size"], told.last["received"]) == (size(model), size(model), 0)
    cache = Path(told.last["environ"]["HF_HUB_CACHE"])
    assert cache.is_relative_to(app.folder / "nvme")
    [weights] = cache.glob("models--acme--tiny/snapshots/*/model.safetensors")
    assert weights.read_bytes() == (model / "model.safetensors").read_bytes()
    started = app("run", "--library", "nvme")
    assert started.status == 0, started.err


def test_a_second_call_asks_nobody(app: Preheat, hub: FlakyHub) -> None:
    assert staged(app).status == 0
    hub.recovers()
    shutil.move(app.library, app.folder / "unmounted")
    told = staged(app)
    assert (told.status, told.last["fetched"]) == (0, 0)
    assert hub.asked() == []


def test_a_damaged_or_removed_file_is_brought_again(app: Preheat, model: Path) -> None:
    assert staged(app).status == 0
    blobs = [path for path in (app.folder / "nvme/blobs").rglob("*") if path.is_file()]
    large = max(blobs, key=lambda path: path.stat().st_size)
    large.chmod(0o644)
    with open(large, "r+b") as file:
        file.write(b"?")
    assert staged(app).last["fetched"] == size(model, "model.safetensors")
    large.unlink()
    assert staged(app).last["fetched"] == size(model, "model.safetensors")


def test_mirrors_come_first_and_the_next_source_stands_in(app: Preheat, hub: FlakyHub, model: Path) -> None:
    _, url = mirroring(app, "--read-only", tls=False)
    hub.recovers()
    gone = app.folder / "gone"
    dead, away_library = ("--mirror", "http://127.0.0.1:9"), {"PREHEAT_LIBRARY": str(gone)}
    told = staged(app, *dead, "--mirror", url, **away_library)
    assert told.status == 0, told.out
    assert told.last["received"] >= size(model)
    assert hub.asked(WEIGHTS) == []
    shutil.rmtree(app.folder / "nvme")
    assert staged(app, *dead).last["fetched"] == size(model)  # from the shared library
    assert hub.asked(WEIGHTS) == []
    shutil.rmtree(app.folder / "nvme")
    assert staged(app, *dead, **away_library).last["fetched"] == size(model)  # from the hub
    shutil.rmtree(app.folder / "nvme")
    away(app)
    told = staged(app, *dead, **away_library)
    assert (told.status, told.last["event"]) == (3, "error")
    assert not list((app.folder / "nvme").glob("stages/*"))


def test_a_mirror_that_dies_in_the_middle_costs_what_it_had_not_sent(app: Preheat, model: Path) -> None:
    _, url = mirroring(app, "--read-only", "--pace", "1M", tls=False)
    with Line(url) as line:
        running = app.start("stage", "--to", "nvme", "--json", "--mirror", line.url)
        running.until(lambda _: line.sent > 3_000_000)
        line.cut()
        told = running.ended()
    assert told.status == 0, told.out
    assert told.last["received"] < size(model)
    assert app("verify", "--library", "nvme").status == 0


def test_two_at_once_download_each_file_once(app: Preheat, hub: FlakyHub, model: Path) -> None:
    hub.recovers()
    env = {"PREHEAT_LIBRARY": str(app.folder / "none")}
    two = [app.start("stage", "--to", "nvme", "--json", "--hold", job, inside=(), **env) for job in ("1", "2")]
    told = [one.ended() for one in two]
    assert [one.status for one in told] == [0, 0], told
    assert hub.sent(WEIGHTS) <= 1.05 * size(model)
    assert len(list(app.folder.glob("nvme/stages/*/holds/*"))) == 2


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_an_interrupted_fill_is_resumed(app: Preheat, model: Path, number: int, status: int) -> None:
    with FlakyHub({"acme/tiny": model}, pace=1_000_000) as slow, Line(slow.url) as line:
        env = {"PREHEAT_LIBRARY": str(app.folder / "none"), "HF_ENDPOINT": line.url}
        running = app.start("stage", "--to", "nvme", "--json", inside=(), **env)
        running.until(lambda _: line.sent > 4_000_000)
        assert running.kill(number).status == status
        assert not list(app.folder.glob("nvme/stages/*/staged.json"))
        told = staged(app, **env)
        assert told.status == 0, told.out
        assert told.last["received"] < size(model) - 1_000_000


def test_a_full_disk_is_an_error_before_the_download(app: Preheat, hub: FlakyHub, tmp_path: Path) -> None:
    with disk(tmp_path / "small", "size=70m") as small:
        recipe = str(app.folder / "preheat.toml")
        told = app("stage", recipe, "--to", str(small.mounted), "--json", inside=small.inside)
        assert (told.status, told.last["kind"]) == (5, "NoSpace"), told.out
        assert not list(small.path.glob("stages/*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="to mount something read-only, one must be root")
def test_the_shared_library_may_be_read_only(app: Preheat) -> None:
    away(app)
    mount = f"mount --bind '{app.library}' '{app.library}' && mount -o remount,bind,ro '{app.library}' && "
    inside = ("unshare", "--mount", "sh", "-c", mount + 'exec "$@"', "sh")
    for _ in range(2):
        told = app("stage", "preheat.toml", "--to", "nvme", "--json", inside=inside)
        assert told.status == 0, told.out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_job_of_another_user_uses_what_root_has_staged(app: Preheat) -> None:
    away(app)
    assert staged(app).status == 0
    as_user = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    if subprocess.run([*as_user, "true"], check=False).returncode:
        pytest.skip("no user namespaces here")
    nvme = app.folder / "nvme"
    for path in (nvme, *nvme.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o555)
    told = app("stage", "preheat.toml", "--to", "nvme", "--json", inside=as_user)
    assert (told.status, told.last.get("fetched")) == (0, 0), told.out
    told = app("stage", "acme/tiny", "--to", "nvme", "--json", inside=as_user)
    assert (told.status, "read-only for this user" in told.last["message"]) == (5, True)


def test_a_branch_is_looked_up_and_used_as_it_was_while_no_source_answers(app: Preheat, hub: FlakyHub) -> None:
    told = staged(app, what="acme/tiny")
    assert told.status == 0, told.out
    away(app)
    gone = {"PREHEAT_LIBRARY": str(app.folder / "gone")}
    told = staged(app, "--connect-timeout", "1s", what="acme/tiny", **gone)
    assert (told.status, told.last["fetched"]) == (0, 0), told.out
    assert any("as it was staged last" in str(event.get("said")) for event in told.events)


def test_export_prints_variables_for_a_shell(app: Preheat) -> None:
    away(app)
    script = """eval "$("$0" stage "acme/tiny@$1" --files config.json --to nvme --export)"
    echo "$PREHEAT_LIBRARY"; ls "$HF_HUB_CACHE" """
    words = ["sh", "-ec", script, str(app.command), _commit(app)]
    env = app.env | {"PREHEAT_LIBRARY": str(app.library)}
    said = subprocess.run(words, cwd=app.folder, env=env, capture_output=True, text=True, check=False)
    assert said.stdout.split() == [str(app.folder / "nvme"), "models--acme--tiny"], said


def _commit(app: Preheat) -> str:
    [one] = app("ls", "--json").last["versions"]
    return str(one["commit"])


# ---- bad input


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("preheat.toml", "--mirror", "head1:8000"), "not the address of a mirror"),
        (("preheat.toml", "--hold", "../x"), "cannot be the name of a job"),
        (("preheat.toml", "--release", "17"), "--release stages nothing"),
        (("--release", "a/b"), "cannot be the name of a job"),
        (("preheat.toml", "--max-size", "much"), "is not a size"),
        (("none.toml",), "none.toml"),
    ],
)
def test_bad_words_are_usage_errors(app: Preheat, words: tuple[str, ...], said: str) -> None:
    told = app("stage", *words, "--to", "nvme", "--json")
    assert (told.status, said in told.last["message"]) == (2, True), told.out


def test_from_python(app: Preheat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(app.folder)
    session = api.Session(api.Settings(library=app.library, endpoints=(f"hf={NOWHERE}",)))
    terms = StageTerms(to=app.folder / "nvme", hold="17")
    assert api.stage("preheat.toml", terms=terms, session=session).fetched > 9_000_000
    assert api.stage("preheat.toml", terms=terms, session=session).fetched == 0
    assert api.release("17", terms, session=session).apps == ()
