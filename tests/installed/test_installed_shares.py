"""Shares: what an installed copy brings for shells and for `man`."""

import shutil
import subprocess

import pytest

from tests.installed.copies import Copy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ASK = """
source "$1"
COMP_WORDS=(preheat {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_shtab_preheat
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "completed"),
    [("pro", {"prove"}), ("pull --limit", {"--limit-rate"}), ("pull --unsafe-files w", {"warn"})],
)
def test_bash_completes_verbs_options_and_choices(copy: Copy, words: str, completed: set[str]) -> None:
    path = copy.python.parents[1] / "share/bash-completion/completions/preheat"
    asked = ["bash", "-c", ASK.format(words=words), "bash", str(path)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == completed


def test_man_shows_every_verb(copy: Copy) -> None:
    if shutil.which("man") is None or shutil.which("groff") is None:
        pytest.skip("man is not installed")
    path = copy.python.parents[1] / "share/man/man1/preheat.1"
    shown = subprocess.run(["man", "--warnings", "-l", str(path)], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr == ""
    assert "preheat pull" in shown.stdout
    assert "--limit-rate" in shown.stdout
    assert path.read_text().startswith('.TH PREHEAT 1 ""')


def test_zsh_is_told_of_every_verb(copy: Copy) -> None:
    text = (copy.python.parents[1] / "share/zsh/site-functions/_preheat").read_text()
    assert text.startswith("#compdef preheat")
    assert "serve-config" in text
    assert "--limit-rate" in text


def test_completion_prints_what_the_shells_are_given(copy: Copy) -> None:
    share = copy.python.parents[1] / "share"
    paths = {
        "bash": "bash-completion/completions/preheat",
        "zsh": "zsh/site-functions/_preheat",
        "fish": "fish/vendor_completions.d/preheat.fish",
    }
    for shell, path in paths.items():
        done = subprocess.run([str(copy.command), "completion", shell], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == (share / path).read_text().strip()
