"""CI steps: the shell parts of examples/ci, in a git repository with an origin, a hub, and a registry with a login.

The services around them are not there: `gh` is a program that writes down its words, GitLab a bare repository that
writes down its push options. What is not run is in `UNRUN`.
"""

import os
import shutil
import string
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.authority import authority
from tests.command import COMMAND
from tests.flaky_hub import FlakyHub, refuses
from tests.oci.small_registry import PASSWORD, USER, Faults, serving
from tests.stories.two_machines import RECIPE

CI = Path(__file__).parents[2] / "examples/ci"
UNRUN = ("pipx install", "pip install", "docker login")
BRANCH = "update-preheat-lock"
GH = '#!/bin/sh\necho "$@" >> "$HOME/gh"\ncase "$1 $2" in "pr list") cat "$HOME/open" 2>/dev/null || true ;; esac\n'
HOOK = '#!/bin/sh\nfor n in 0 1 2; do eval "echo \\"\\$GIT_PUSH_OPTION_$n\\"" >> "$GIT_DIR/options"; done\n'


def read(name: str) -> dict[Any, Any]:
    parsed: dict[Any, Any] = yaml.safe_load((CI / name).read_text())
    return parsed


def github(name: str) -> tuple[dict[str, str], str]:
    """Return the variables of a workflow, and its shell parts."""
    parsed = read(f"github/{name}")
    variables = {key: str(value) for key, value in parsed["env"].items() if "${{" not in str(value)}
    [job] = parsed["jobs"].values()
    return variables, "\n".join(one["run"] for one in job["steps"] if "run" in one and not unrun(one["run"]))


def gitlab(job: str) -> tuple[dict[str, str], str]:
    """Return the variables of a job, and its shell parts."""
    parsed = read("gitlab-ci.yml")
    scripts = [*parsed[job]["before_script"], *parsed[job]["script"]]
    return parsed["variables"], "\n".join(one for one in scripts if not unrun(one))


def unrun(script: str) -> bool:
    return any(one in script for one in UNRUN)


STEPS = {
    "github": (github("update-lock.yml"), github("build-image.yml"), "-e"),
    "gitlab": (gitlab("update-lock"), gitlab("build-image"), "-eo pipefail"),
}


@dataclass
class Project:
    """A clone of a repository that has an app at `recipe`, and the service that runs its steps."""

    service: str
    recipe: str
    root: Path
    model: Path
    hub: FlakyHub
    env: dict[str, str] = field(default_factory=dict)

    @property
    def lock(self) -> str:
        """The lock's path in the repository."""
        return self.recipe.replace(".toml", ".lock")

    def git(self, *words: str) -> str:
        """Run git in the clone; return what it prints."""
        command = ["git", "-c", "user.name=me", "-c", "user.email=me@example.com", *words]
        done = subprocess.run(
            command, cwd=self.root / "a clone", env=self.env, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def update_lock(self) -> "subprocess.CompletedProcess[str]":
        """Run the scheduled steps, in a clean checkout of the main branch as each run of CI has it."""
        self.git("switch", "--quiet", "--detach", "origin/main")
        return self._run(*STEPS[self.service][0])

    def build_image(self, image: str) -> None:
        """Run the steps for a changed lock, on what the clone has."""
        variables, script = STEPS[self.service][1]
        done = self._run(variables | {"BASE": "scratch", "IMAGE": image}, script)
        assert done.returncode == 0, done.stdout + done.stderr

    def proposed(self) -> str:
        """Return the commit of the branch with the new lock; empty if there is none."""
        return self.git("ls-remote", "origin", f"refs/heads/{BRANCH}").partition("\t")[0]

    def asked(self) -> list[str]:
        """Return the requests that were opened."""
        name = "gh" if self.service == "github" else "origin.git/options"
        said = self.root / name
        lines = said.read_text().splitlines() if said.exists() else []
        return [line for line in lines if line.startswith(("pr create", "merge_request.create"))]

    def _run(self, variables: dict[str, str], script: str) -> "subprocess.CompletedProcess[str]":
        given = {name: string.Template(value).safe_substitute(self.env) for name, value in variables.items()}
        own = {"RECIPE": self.recipe, "PUSH_URL": self.env["ORIGIN"], "PREHEAT_LIBRARY": self.env["PREHEAT_LIBRARY"]}
        return subprocess.run(
            ["bash", "--noprofile", "--norc", *STEPS[self.service][2].split(), "-c", script],
            cwd=self.root / "a clone",
            env=self.env | given | own,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )


@pytest.fixture(params=["github", "gitlab"])
def service(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["preheat.toml", "apps/my app/speech.toml"], ids=["root", "folder with a space"])
def project(request: pytest.FixtureRequest, service: str, model: Path, tmp_path: Path) -> Iterator[Project]:
    """A repository with a locked app."""
    shutil.copytree(model, tmp_path / "repo")
    for name, text in (("bin/gh", GH), ("origin.git/hooks/post-receive", HOOK)):
        program = tmp_path / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    (tmp_path / "bin/preheat").symlink_to(COMMAND)
    with FlakyHub({"acme/tiny": tmp_path / "repo"}) as hub:
        env = {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "GIT_CONFIG_NOSYSTEM": "1",
            "HF_ENDPOINT": hub.url,
            "PREHEAT_LIBRARY": str(tmp_path / "library"),
            "ORIGIN": (tmp_path / "origin.git").as_uri(),
            "CI_DEFAULT_BRANCH": "main",
            **authority().environ,
        }
        made = Project(service, request.param, tmp_path, tmp_path / "repo", hub, env)
        (tmp_path / "a clone").mkdir()
        made.git("init", "--quiet", "--bare", "--initial-branch", "main", str(tmp_path / "origin.git"))
        made.git("-C", str(tmp_path / "origin.git"), "config", "receive.advertisePushOptions", "true")
        made.git("init", "--quiet", "--initial-branch", "main")
        made.git("remote", "add", "origin", env["ORIGIN"])
        at = tmp_path / "a clone" / made.recipe
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(RECIPE)
        relock(made)
        made.git("push", "--quiet", "origin", "main")
        yield made


def relock(project: Project) -> None:
    """Lock the app, and commit what there is."""
    clone = project.root / "a clone"
    subprocess.run([COMMAND, "lock", project.recipe], cwd=clone, env=project.env, capture_output=True, check=True)
    project.git("add", "--", project.recipe, project.lock)
    project.git("commit", "--quiet", "-m", "Lock")


@pytest.mark.slow
def test_a_lock_that_is_out_of_date_is_proposed_once(project: Project) -> None:
    done = project.update_lock()
    assert (done.returncode, project.proposed(), project.asked()) == (0, "", []), done.stderr
    (project.model / "config.json").write_text('{"model_type": "other"}\n')
    done = project.update_lock()
    assert done.returncode == 0, done.stdout + done.stderr
    first = project.proposed()
    project.git("fetch", "--quiet", "origin")
    assert project.git("diff", "--name-only", "origin/main", first) == project.lock
    assert "changed config.json" in project.git("show", "--no-patch", "--format=%b", first)
    assert project.git("show", "--no-patch", "--format=%s", first) == f"Update {project.lock}"
    assert len(project.asked()) == 1
    # The next week, the request is still open.
    (project.root / "open").write_text("7\n")
    done = project.update_lock()
    assert (done.returncode, project.proposed(), len(project.asked())) == (0, first, 1), done.stderr
    # And the hub changes again.
    (project.model / "note.txt").write_text("more\n")
    done = project.update_lock()
    assert done.returncode == 0, done.stderr
    assert project.proposed() not in ("", first)
    # A hub that does not have the model is an error, and proposes nothing.
    last = project.proposed()
    project.hub.fails("/api/models/acme", refuses(404))
    assert project.update_lock().returncode == 3
    assert project.proposed() == last


@pytest.mark.slow
def test_only_layers_of_changed_files_are_sent(project: Project) -> None:
    with serving(Faults(auth="basic")) as registry:
        login = {"CI_REGISTRY": registry.host, "CI_REGISTRY_USER": USER, "CI_REGISTRY_PASSWORD": PASSWORD}
        project.env |= login
        if project.service == "github":
            # As `docker login` writes it.
            _, script = STEPS["gitlab"][1]
            kept = "\n".join(line for line in script.splitlines() if "preheat" not in line)
            subprocess.run(["bash", "-ec", kept], env=project.env, check=True)
        image = f"{registry.host}/acme/webui:1"
        project.build_image(image)
        whole, before = registry.received, set(registry.blobs)
        weights = (project.model / "model.safetensors").read_bytes()[:4096]
        assert whole > 12_000_000
        assert any(weights in body for body in registry.blobs.values())
        registry.asked.clear()
        project.build_image(image)
        assert registry.received == whole
        assert not [one for one in registry.asked if one.startswith(("POST", "PATCH"))]
        (project.model / "config.json").write_text('{"model_type": "other"}\n')
        relock(project)
        project.build_image(image)
        # The layer of the small files, but not that of the weights.
        assert 0 < registry.received - whole < 9_000_000
        sent = [body for digest, body in registry.blobs.items() if digest not in before]
        assert any(b'"other"' in body for body in sent)
        assert not any(weights in body for body in sent)
