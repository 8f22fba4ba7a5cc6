"""The Python API does the same as the command, with values instead of words."""

import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from preheat import api
from preheat.api.mirroring import MirrorTerms
from preheat.core.errors import LibraryError, NotPreloaded, UsageError
from preheat.core.events import Event, Noted
from preheat.core.ref import Ref
from tests.authority import authority
from tests.flaky_hub import FlakyHub
from tests.guard.apps import until

MODEL = "acme/tiny"


@pytest.fixture
def session(tmp_path: Path, hub: FlakyHub, monkeypatch: pytest.MonkeyPatch) -> api.Session:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority().ca_file))
    return api.Session(api.Settings(library=tmp_path / "library", endpoints=(f"hf={hub.url}",), connections=4))


def test_pulled_models_can_be_listed_verified_and_removed(session: api.Session, model: Path, tmp_path: Path) -> None:
    ahead = api.plan_pull(MODEL, session=session)
    assert ahead.fits
    pulls = api.pull(MODEL, session=session)
    assert pulls.size >= pulls.fetched == ahead.missing > 0
    assert pulls.received > pulls.fetched
    again = api.pull(MODEL, views={"flat": tmp_path / "placed"}, session=session)
    assert again.fetched == 0
    assert (tmp_path / "placed/config.json").read_bytes() == (model / "config.json").read_bytes()
    [version] = api.ls(session=session).versions
    assert version.size == pulls.fetched
    environ = api.view("hf-cache", tmp_path / "cache", MODEL, session=session)
    assert environ["HF_HUB_CACHE"] == str(tmp_path / "cache")
    assert api.verify(MODEL, session=session).rotten == ()
    assert api.plan_remove(MODEL, session=session).versions
    assert len(api.ls(session=session).versions) == 1
    assert api.remove(MODEL, session=session).versions == (version.ref,)
    assert not api.ls(session=session).versions
    assert api.prune(session=session).versions == ()


def test_upkeep_has_what_its_verbs_have(session: api.Session, hub: FlakyHub, tmp_path: Path) -> None:
    api.pull(MODEL, session=session)
    [version] = api.ls("acme/*", session=session).versions
    with pytest.raises(NotPreloaded, match=r"no model in .* matches nobody/"):
        api.ls("nobody/*", session=session)
    assert api.pin(MODEL, session=session) == (version.ref,)
    with pytest.raises(LibraryError, match="is pinned"):
        api.plan_remove(MODEL, all_versions=True, session=session)
    assert api.unpin(MODEL, session=session) == (version.ref,)
    assert api.unpin(MODEL, session=session) == ()

    snapshot = session.library.find(Ref.parse(MODEL))
    assert snapshot is not None
    spoiled = session.library.path(next(one for one in snapshot.files if one.size).digest)
    spoiled.chmod(0o644)
    spoiled.write_bytes(bytes(spoiled.stat().st_size))
    assert len(api.verify(mend=True, session=session).mended) == 1
    assert api.verify(session=session).left == ()

    session.library.records.remove(snapshot)
    assert api.plan_prune(session=session).size == 0, "the files are too young"
    assert api.plan_prune(younger_s=0, session=session).size > 0
    freed = api.prune(younger_s=0, unread=True, memory_snapshots=True, forget="gone", settle_s=0, session=session)
    assert freed.blobs > 0
    assert api.prune(younger_s=0, session=session).blobs == 0


def test_a_session_receives_all_events(tmp_path: Path, hub: FlakyHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority().ca_file))
    told: list[Event] = []
    settings = api.Settings(library=tmp_path / "library", endpoints=(f"hf={hub.url}",))
    api.pull(MODEL, files=["config.json"], session=api.Session(settings, told.append))
    assert {type(event).__name__ for event in told} >= {"Resolved", "Received"}


def test_an_app_is_locked_and_run_with_its_needs(
    session: api.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "app/preheat.toml"
    recipe.parent.mkdir()
    recipe.write_text(f"""
[app]
name = "tell"
command = ["{sys.executable}", "-c", "import os; open('told', 'w').write(os.environ['HF_HUB_OFFLINE'])"]

[[needs]]
ref = "{MODEL}"
""")
    lock = api.lock(str(recipe), session=session)
    assert [str(one.need.ref) for one in lock.needs]
    assert api.check_lock(str(recipe), session=session).up_to_date
    with pytest.raises(NotPreloaded):
        api.run(str(recipe), session=session)
    api.pull(str(recipe), session=session)
    assert api.run(str(recipe), session=session) == 0
    assert (recipe.parent / "told").read_text() == "1"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"preheat\.toml"):
        api.run(session=session)


def test_a_mirror_serves_models_pulled_to_another_library(session: api.Session, tmp_path: Path) -> None:
    api.pull(MODEL, session=session)
    with api.mirror(session=session) as running:
        other = api.Session(api.Settings(library=tmp_path / "other", endpoints=(f"hf={running.url}",)))
        assert api.pull(MODEL, session=other).fetched > 0


def test_a_mirror_reloads_its_settings_logs_and_reports_failures(session: api.Session, tmp_path: Path) -> None:
    told: list[Event] = []
    session.on_event = told.append
    (tmp_path / "tokens").write_text("a-first-token\n")
    (tmp_path / "voice").mkdir()
    (tmp_path / "voice/voice.bin").write_bytes(b"voice")
    log = tmp_path / "access.log"
    folders = {"me/voice": tmp_path / "voice"}
    terms = MirrorTerms(folders=folders, token_file=tmp_path / "tokens", access_log=str(log))
    with api.mirror(terms=terms, session=session) as running:
        url = f"{running.url}/me/voice/resolve/main/voice.bin"
        assert [fetched(url, token) for token in ("a-first-token", "another-token")] == [200, 401]
        (tmp_path / "tokens").write_text("another-token\n")
        # A response is logged after it has been sent.
        assert until(lambda: len(log.read_text().splitlines()) == 2)
        log.rename(tmp_path / "rotated.log")
        running.reload()
        assert [fetched(url, token) for token in ("a-first-token", "another-token")] == [401, 200]
        (tmp_path / "tokens").unlink()
        running.reload()
        assert fetched(url, "another-token") == 200
    said = [event.said for event in told if isinstance(event, Noted) and event.what == "reload"]
    assert [words.partition(" ")[0] for words in said] == ["tokens,", "failed,"]
    assert [len(path.read_text().splitlines()) for path in (tmp_path / "rotated.log", log)] == [2, 3]


def fetched(url: str, token: str) -> int:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_a_mirror_without_patience_responds_while_upstream_is_down(tmp_path: Path) -> None:
    settings = api.Settings(library=tmp_path / "library", connect_s=0.5, read_s=0.5, patience_s=0.0)
    terms = MirrorTerms(upstreams=("hf=http://127.0.0.1:9",))
    with api.mirror(terms=terms, session=api.Session(settings)) as running:
        assert fetched(f"{running.url}/acme/tiny/resolve/main/config.json", "") in (502, 503, 504)


def test_a_cache_is_adopted_without_a_download(session: api.Session, model: Path, tmp_path: Path) -> None:
    mine = api.Session(api.Settings(library=tmp_path / "mine"))
    done = api.adopt(model, ref=MODEL, copy=True, session=mine)
    assert (done.versions, done.left_out) == (1, 0)


def test_plans_are_executed_and_checked_again(session: api.Session, model: Path, tmp_path: Path) -> None:
    plan = api.plan_pull(MODEL, views={"flat": tmp_path / "placed"}, session=session)
    assert not (tmp_path / "library").exists()
    assert api.execute(plan, session=session).fetched == plan.missing
    assert (tmp_path / "placed/config.json").exists()
    assert api.execute(plan, session=session).fetched == 0, "it was carried out before"
    removal = api.plan_remove(MODEL, session=session)
    assert removal.size + sum(one.size for one in removal.kept_by) >= plan.missing
    session.library.pins.add(removal.snapshots[0])
    with pytest.raises(LibraryError, match="is pinned"):
        api.execute(removal, session=session)
    session.library.pins.remove(removal.snapshots[0])
    assert api.execute(removal, session=session).size == removal.size
    cache = api.plan_adopt(model, ref=MODEL, copy=True, session=session)
    assert 0 < api.execute(cache, session=session).copied <= cache.disk.needed == cache.to_read


def test_invalid_arguments_raise_before_anything_is_done(tmp_path: Path) -> None:
    for wrong in ({"connections": 0}, {"connect_s": 0.0}, {"read_s": -1.0}):
        with pytest.raises(UsageError):
            api.Settings(**wrong)
    with pytest.raises(LibraryError):
        api.remove(MODEL, session=api.Session(api.Settings(library=tmp_path / "none")))


def test_importing_the_api_does_not_load_modules_of_single_verbs() -> None:
    code = "import sys; import preheat.api; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert [
        name
        for name in ("urllib3", "ssl", "msgspec", "rich", "tomlkit", "h11", "jinja2", "platformdirs", "tempfile")
        if name in loaded
    ] == []


@pytest.mark.slow
def test_tracing_an_app_writes_a_recipe_of_the_files_it_reads(
    session: api.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app").mkdir()
    monkeypatch.chdir(tmp_path / "app")
    # What a process that has ended meanwhile opened in these folders counts as the app's: another test may run there.
    for name in ("HOME", "TMPDIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    traced = api.trace(sys.executable, "-c", "print('nothing needed')", session=session)
    assert traced.inferred.lock.needs == ()
    assert 'name = "app"' in Path("preheat.toml").read_text()
    with pytest.raises(UsageError, match="exists already"):
        api.trace(sys.executable, "-c", "pass", session=session)


@pytest.mark.parametrize("word", ["Refuse", "", "no"])
def test_a_misspelt_unsafe_files_policy_is_an_error(word: str) -> None:
    with pytest.raises(UsageError, match="unsafe_files must be one of refuse, warn, allow"):
        api.Settings(unsafe_files=word)  # type: ignore[arg-type] # callers may have no type checker
