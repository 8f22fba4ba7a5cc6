"""Values mean what the standard library's dataclasses mean."""

import dataclasses
from collections.abc import Callable

import pytest

from preheat.guard.lifecycle import Life, Patience
from preheat.guard.value import dataclass, field, replace


@dataclass(frozen=True)
class Point:
    """A place."""

    x: int
    y: int = 2
    near: list[int] = field(default_factory=list)


@dataclass
class Open:
    """It can be changed."""

    names: list[str] = field(default_factory=list)


def test_values_are_made_compared_shown_and_changed_as_dataclasses_are() -> None:
    assert Point(1) == Point(1, 2, []) == Point(x=1, near=[])
    assert Point(1) != Point(3)
    assert Point(1) != object()
    assert repr(Point(1, near=[4])) == "Point(x=1, y=2, near=[4])"
    assert replace(Point(1), y=9) == Point(1, 9)
    assert len({Life(), Life(), Life("fatal")}) == 2
    assert Patience() == Patience()


def test_defaults_that_are_made_are_made_anew() -> None:
    assert Point(1).near is not Point(1).near
    one = Open()
    one.names.append("a")
    one.names = [*one.names, "b"]
    assert (one.names, Open().names) == (["a", "b"], [])


def test_what_is_frozen_cannot_be_changed() -> None:
    point = Point(1)
    with pytest.raises(AttributeError):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del point.x


def test_wrong_values_are_refused() -> None:
    make: Callable[..., Point] = Point
    for values, named in (((), {}), ((1,), {"z": 2}), ((1,), {"x": 2}), ((1, 2, [], 4), {})):
        with pytest.raises(TypeError, match="Point"):
            make(*values, **named)


def test_the_standard_librarys_own_words_work_on_them() -> None:
    assert dataclasses.is_dataclass(Point)
    assert [one.name for one in dataclasses.fields(Point)] == ["x", "y", "near"]
    assert dataclasses.replace(Point(1), y=5) == Point(1, 5)
    assert dataclasses.asdict(Point(1)) == {"x": 1, "y": 2, "near": []}
