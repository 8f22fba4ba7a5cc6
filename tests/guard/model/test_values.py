"""The guard's own `dataclass` does what the standard one does: each test runs with both."""

import copy
import dataclasses
import pickle
import sys
from typing import Any

import msgspec
import pytest

from preheat.guard.model import values
from preheat.guard.model.life import RestartPolicy

pytestmark = pytest.mark.parametrize("made_by", [dataclasses, values], ids=["standard", "own"])


def _value(made_by: Any) -> Any:
    @made_by.dataclass(frozen=True, slots=True, order=True)
    class Value:
        """A value."""

        name: str
        size: int = 3
        more: list[str] = made_by.field(default_factory=list, hash=False)
        note: str = made_by.field(default="", compare=False, repr=False)
        key: str = made_by.field(init=False, repr=False, compare=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "key", self.name.upper())

    return Value


def test_fields_are_set_by_position_by_name_and_by_default(made_by: Any) -> None:
    make = _value(made_by)
    assert (make("a").size, make("a", 4).size, make(size=5, name="a").size) == (3, 4, 5)
    assert make("a").key == "A"
    assert make("a").more is not make("a").more
    assert make.__match_args__ == ("name", "size", "more", "note")
    with pytest.raises(TypeError):
        make()
    with pytest.raises(TypeError):
        make("a", 1, [], "", "too many")
    with pytest.raises(TypeError, match="unknown"):
        make("a", unknown=1)


def test_values_compare_by_the_fields_that_count(made_by: Any) -> None:
    make = _value(made_by)
    one, other = make("a", note="one"), make("a", note="other")
    assert one == other
    assert hash(one) == hash(other) == hash(make("a", more=["not hashed"]))
    assert one != make("b")
    assert one != "a"
    assert sorted([make("b"), make("a", 2), make("a", 1)]) == [make("a", 1), make("a", 2), make("b")]
    assert make("a") <= make("a") < make("b") >= make("b") > make("a")


def test_a_frozen_value_cannot_change(made_by: Any) -> None:
    value = _value(made_by)("a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.size = 4
    with pytest.raises(dataclasses.FrozenInstanceError):
        del value.size
    assert not hasattr(value, "__dict__")


def test_replace_makes_a_changed_copy(made_by: Any) -> None:
    value = _value(made_by)("a", 4)
    assert made_by.replace(value, name="b") == _value_like(value, "b", 4)
    assert made_by.replace(value, name="b").key == "B"
    assert dataclasses.replace(value, size=5).size == 5
    assert values.replace(value, size=5).size == 5


def _value_like(value: Any, *words: object) -> Any:
    return type(value)(*words)


def test_other_programs_see_a_dataclass(made_by: Any) -> None:
    make = _value(made_by)
    value = make("a", more=["b"])
    assert dataclasses.asdict(value) == {"name": "a", "size": 3, "more": ["b"], "note": "", "key": "A"}
    assert [one.name for one in dataclasses.fields(make)] == ["name", "size", "more", "note", "key"]
    assert repr(value).endswith("Value(name='a', size=3, more=['b'])")
    assert copy.deepcopy(value) == value
    assert msgspec.to_builtins(value)["more"] == ["b"]


def test_a_mutable_value_with_names_only(made_by: Any) -> None:
    class Plain:
        host: str = "localhost"
        ports: tuple[int, ...] = ()

    Settings: Any = made_by.dataclass(kw_only=True)(Plain)  # noqa: N806 - a class
    settings = Settings(ports=(1,))
    settings.host = "other"
    assert settings == Settings(host="other", ports=(1,))
    assert Settings.host == "localhost"
    with pytest.raises(TypeError):
        hash(settings)
    with pytest.raises(TypeError):
        Settings("other")


def test_methods_of_the_class_are_kept(made_by: Any) -> None:
    class Plain:
        name: str

        def __eq__(self, other: object) -> bool:
            return True

        def __repr__(self) -> str:
            return self.name

    Named: Any = made_by.dataclass(frozen=True)(Plain)  # noqa: N806 - a class

    class Longer(Named):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            super().__init__(name * 2)

    assert Named("a") == Named("b")
    assert hash(Named("a")) == hash(Named("a"))
    assert repr(Named("a")) == "a"
    assert (Longer("a").name, Longer("b").name, Named("a").name) == ("aa", "bb", "a")


def test_a_value_can_be_pickled(made_by: Any) -> None:
    policy = RestartPolicy(max_restarts=7)
    assert pickle.loads(pickle.dumps(policy)) == policy
    make = _value(made_by)
    vars(sys.modules[__name__])["Value"] = make
    make.__qualname__, make.__module__ = "Value", __name__
    assert pickle.loads(pickle.dumps(make("a", 4))) == make("a", 4)
