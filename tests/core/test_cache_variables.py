"""Cache variables: an observed start gets new caches, whatever variables the user has set."""

from pathlib import Path

import pytest

from preheat.core.cache_variables import CACHE_ROOTS, CACHE_VARIABLES, hf_home, lead_to_views, new_caches
from preheat.verbs.local_hub import Lead
from preheat.verbs.tracing.traced_caches import traced_caches
from preheat.verbs.tracing.traced_start import environment
from preheat.views.links import AUTO
from preheat.views.view_names import VIEWS, choose_view


@pytest.mark.parametrize("kind", VIEWS)
def test_every_variable_of_a_view_is_a_known_cache_variable(kind: str) -> None:
    assert choose_view(kind, AUTO).environ(Path("/at")).keys() <= CACHE_VARIABLES


def test_a_traced_start_sees_no_cache_of_the_user(tmp_path: Path) -> None:
    users = dict.fromkeys(CACHE_VARIABLES, "/users")
    caches = new_caches(tmp_path)
    traced = traced_caches(users, None, tmp_path, covered=True)
    started = environment(users, traced, tmp_path / "notes", Lead("http://127.0.0.1:1"))
    assert {name: started[name] for name in CACHE_VARIABLES if name in started} == caches
    assert caches.keys() == CACHE_ROOTS.keys()


def test_the_users_older_variable_does_not_override_the_view() -> None:
    view = {"HF_HUB_CACHE": "/view"}
    led = lead_to_views({"TRANSFORMERS_CACHE": "/users", "HF_HUB_CACHE": "/users"}, view)
    assert led == {"TRANSFORMERS_CACHE": "/view", "HF_HUB_CACHE": "/view"}
    assert lead_to_views({}, view) == view
    assert lead_to_views({"TRANSFORMERS_CACHE": "/users"}, {}) == {"TRANSFORMERS_CACHE": "/users"}


def test_the_folder_of_hugging_face_tools_is_the_one_they_use() -> None:
    home = Path("/home/one")
    assert hf_home({}, home) == home / ".cache/huggingface"
    assert hf_home({"XDG_CACHE_HOME": "/cache"}, home) == Path("/cache/huggingface")
    assert hf_home({"XDG_CACHE_HOME": "/cache", "HF_HOME": "/hf"}, home) == Path("/hf")
    assert hf_home({"XDG_CACHE_HOME": "", "HF_HOME": ""}, home) == home / ".cache/huggingface"
