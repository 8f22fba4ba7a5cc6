"""The views of apps by name: each is for a known app, and has only the links that are safe for it."""

import os

import pytest

from preheat.core.errors import UsageError
from preheat.views.app_layouts.model_reader import ModelReader
from preheat.views.links import COPY, HARDLINK, REFLINK, SYMLINK
from preheat.views.view_names import APP_VIEWS, OTHER_NAMES, app_of_view, choose_folder_view
from preheat.views.view_protocol import AppView


def reader(told: str = "") -> ModelReader:
    return ModelReader(lambda digest: f"/nowhere/{digest.hex}", told)


@pytest.mark.parametrize("kind", APP_VIEWS)
@pytest.mark.parametrize("user", [0, 1000])
def test_links_are_those_that_the_app_bears(kind: str, user: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    view, app = choose_folder_view(kind, "auto", reader()), app_of_view(kind)
    assert isinstance(view, AppView)
    assert view.kind == kind
    assert set(view.ways) <= {*app.links, COPY}
    assert (view.ways[0], view.ways[-1]) == (REFLINK, COPY)
    if app.rewrites and user == 0:  # whom no mode keeps from writing through a link
        assert not {HARDLINK, SYMLINK} & set(view.ways)
    assert tuple(choose_folder_view(kind, "symlink", reader()).ways) == (SYMLINK,)


@pytest.mark.parametrize("kind", ["hf-cache", "flat", "ollama", "lm-studio", "llama-cpp", "text-generation-webui"])
def test_a_kind_of_model_is_refused_where_there_are_no_folders_by_kind(kind: str) -> None:
    with pytest.raises(UsageError, match="no folders by kind"):
        choose_folder_view(kind, "auto", reader("lora"))


def test_other_names_lead_to_views() -> None:
    assert set(OTHER_NAMES.values()) <= set(APP_VIEWS)
    assert not set(OTHER_NAMES) & set(APP_VIEWS)
    for name, kind in OTHER_NAMES.items():
        assert choose_folder_view(name.upper(), "auto", reader()).kind == kind
