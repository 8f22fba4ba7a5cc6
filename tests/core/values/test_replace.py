"""Replace: copies of structs and dataclasses; and nothing in the tree takes a struct for a dataclass."""

import re
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path

import msgspec
import pytest

import preheat
from preheat.core.values.replace import replace


class _Struct(msgspec.Struct, frozen=True):
    name: str
    size: int = 0

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(self.size)


@dataclass(frozen=True)
class _Plain:
    name: str
    size: int = 0


@pytest.mark.parametrize("value", [_Struct("a", 1), _Plain("a", 1)])
def test_a_copy_has_the_other_fields_unchanged(value: _Struct | _Plain) -> None:
    copy = replace(value, size=2)
    assert (type(copy), copy.name, copy.size, value.size) == (type(value), "a", 2, 1)
    with pytest.raises((AttributeError, FrozenInstanceError)):
        copy.name = "b"  # type: ignore[misc]


def test_a_copy_of_a_struct_is_checked_as_a_new_one() -> None:
    with pytest.raises(ValueError, match="-1"):
        replace(_Struct("a"), size=-1)


def test_an_unknown_field_is_an_error() -> None:
    for value in (_Struct("a"), _Plain("a")):
        with pytest.raises(TypeError):
            replace(value, colour="red")  # type: ignore[call-arg]


def test_no_module_uses_the_function_that_fails_for_structs() -> None:
    """The guard, which knows no structs, may use it."""
    root = Path(preheat.__file__).parent
    uses = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if re.search(r"^ *(from dataclasses import .*\breplace\b|import dataclasses$)", path.read_text(), re.MULTILINE)
    ]
    assert [name for name in uses if not name.startswith(("guard/", "core/values/"))] == []
