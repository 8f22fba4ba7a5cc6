"""Free places: what the user of another machine must allow is known when a recipe is made."""

import pytest

from preheat.core.digest import sha256
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.recipes.recipe import Need
from preheat.verbs.placing.free_places import permission_for

NO_BYTES = "0" * 64
MODEL = Ref.parse(f"https://a.example/model.bin#sha256={NO_BYTES}")


@pytest.mark.parametrize(
    ("at", "allow"),
    [
        ("weights", ""),
        ("{home}/.lexicon", ""),
        ("{cache}/torch/hub", ""),
        ("{site-packages}/voice", ""),
        ("{home}", "~"),
        ("{cache}", "~/.cache"),
        ("{cache}/uv/archive", "~/.cache/uv/archive"),
        ("/data/models", "/data/models"),
    ],
)
def test_what_a_new_machine_must_allow_is_named_with_the_reason(at: str, allow: str) -> None:
    snapshot = Snapshot(MODEL, MODEL.revision, (File("model.bin", 1, sha256(NO_BYTES)),))
    place, why = permission_for(Need(MODEL, (), "flat", at), snapshot)
    assert (place, bool(why)) == (allow, bool(allow))
