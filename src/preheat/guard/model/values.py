"""Values: `dataclass` without its cost at import, since an app waits for the imports of its start.

The standard decorator imports `inspect`, and compiles six methods of each class: half a millisecond for each of the
70 classes that a start imports. This one compiles a method when it is first called. Otherwise it does the same, for
what is used of it: no `InitVar`, `ClassVar` or inherited fields. Code that asks for `__dataclass_fields__`, such as
msgspec or `dataclasses.fields`, gets those of a standard dataclass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

__all__ = ["dataclass", "field", "replace"]

if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace
else:
    _NONE = object()

    class _Field:
        """What a class says of a field beside its type; the words of `dataclasses.field`."""

        def __init__(self, **words: Any) -> None:
            self.words = words
            self.factory = words.get("default_factory")
            self.default = words.get("default", _NONE)
            self.init, self.repr = words.get("init", True), words.get("repr", True)
            self.compare = words.get("compare", True)
            self.hash = self.compare if words.get("hash") is None else words["hash"]

    _PLAIN = _Field()

    def field(**words: Any) -> Any:
        """Describe a field: `default` or `default_factory`, `init`, `repr`, `compare`, `hash`."""
        return _Field(**words)

    def replace(value: Any, /, **changes: Any) -> Any:
        """Return a copy of a dataclass's value with other contents of the fields in `changes`."""
        fields = getattr(value, "__shape__", None)
        if fields is None:
            import dataclasses

            return dataclasses.replace(value, **changes)
        for name, one in fields.items():
            if one.init and name not in changes:
                changes[name] = getattr(value, name)
        return type(value)(**changes)

    def dataclass(cls: type | None = None, /, **words: bool) -> Any:
        """Make a class a dataclass, with `frozen`, `slots`, `kw_only`, `eq`, `order` as the standard decorator has."""
        return (lambda cls: _dataclass(cls, **words)) if cls is None else _dataclass(cls, **words)

    def _dataclass(
        cls: type,
        *,
        frozen: bool = False,
        slots: bool = False,
        kw_only: bool = False,
        eq: bool = True,
        order: bool = False,
    ) -> type:
        content = dict(cls.__dict__)
        fields = {}
        for name in content.get("__annotations__") or getattr(cls, "__annotations__", ()):
            said = content.get(name, _NONE)
            fields[name] = said if isinstance(said, _Field) else _PLAIN if said is _NONE else _Field(default=said)
        new = {
            "__shape__": fields,
            "__words__": {"frozen": frozen, "kw_only": kw_only, "eq": eq, "order": order},
            "__match_args__": () if kw_only else tuple(name for name, one in fields.items() if one.init),
            "__dataclass_fields__": _FIELDS,
            "__init__": _init,
            "__repr__": _repr,
            **(_ORDER if order else {}),
        }
        if eq:
            new["__eq__"] = _eq
            if content.get("__hash__") is None:
                content.pop("__hash__", None)
                new["__hash__"] = _hash if frozen else None
        if frozen:
            new["__setattr__"] = new["__delattr__"] = _refuse
            if slots:
                new["__getstate__"], new["__setstate__"] = _get_state, _set_state
        new = {name: one for name, one in new.items() if name not in content}
        if slots:
            for name in ("__dict__", "__weakref__", *fields):
                content.pop(name, None)
            return type(cls)(cls.__name__, cls.__bases__, {**content, **new, "__slots__": tuple(fields)})
        for name, one in new.items():
            setattr(cls, name, one)
        for name, one in fields.items():
            if one.default is not _NONE:
                setattr(cls, name, one.default)
            elif name in content:
                delattr(cls, name)
        return cls

    def _init(self, /, *given, **named) -> None:
        """Compile the class's `__init__`, and call it."""
        cls = _owner(self)
        arguments, lines, names = ["self"], [], {"_set": object.__setattr__, "_NONE": _NONE}
        if cls.__words__["kw_only"] and cls.__shape__:
            arguments.append("*")
        for name, one in cls.__shape__.items():
            value = name
            if one.factory is not None:
                names[f"_{name}"] = one.factory
                value = f"_{name}() if {name} is _NONE else {name}" if one.init else f"_{name}()"
            elif one.default is not _NONE:
                names[f"_{name}"] = one.default
            elif not one.init:
                continue  # the class sets it in __post_init__
            if one.init:
                default = "_NONE" if one.factory is not None else f"_{name}" if one.default is not _NONE else ""
                arguments.append(f"{name}={default}" if default else name)
            elif one.factory is None:
                value = f"_{name}"
            lines.append(f"_set(self, {name!r}, {value})" if cls.__words__["frozen"] else f"self.{name} = {value}")
        if hasattr(cls, "__post_init__"):
            lines.append("self.__post_init__()")
        body = "\n ".join(lines or ["pass"])
        _compile(cls, "__init__", f"{', '.join(arguments)}", body, names)(self, *given, **named)

    def _comparing(name: str, sign: str) -> Callable[[Any, Any], Any]:
        def compare(self, other) -> Any:
            """Compile the class's comparison, and call it."""
            cls = _owner(self)
            compared = [name for name, one in cls.__shape__.items() if one.compare]
            ours, theirs = ("".join(f"{one}.{name}, " for name in compared) for one in ("self", "other"))
            body = f"if other.__class__ is self.__class__:\n  return ({ours}) {sign} ({theirs})\n return NotImplemented"
            return _compile(cls, name, "self, other", body, {})(self, other)

        return compare

    _eq = _comparing("__eq__", "==")
    _ORDER = {
        f"__{name}__": _comparing(f"__{name}__", sign)
        for name, sign in zip(("lt", "le", "gt", "ge"), ("<", "<=", ">", ">="))
    }

    def _hash(self) -> int:
        """Compile the class's `__hash__`, and call it."""
        cls = _owner(self)
        hashed = "".join(f"self.{name}, " for name, one in cls.__shape__.items() if one.hash)
        return _compile(cls, "__hash__", "self", f"return hash(({hashed}))", {})(self)

    def _repr(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name, one in self.__shape__.items() if one.repr)
        return f"{type(self).__qualname__}({shown})"

    def _refuse(_self, name: str, *_value) -> None:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot change the field {name!r}")

    def _get_state(self) -> list:
        return [getattr(self, name) for name in self.__shape__]

    def _set_state(self, state: list) -> None:
        for name, value in zip(self.__shape__, state):
            object.__setattr__(self, name, value)

    class _StandardFields:
        """The fields as `dataclasses.Field`, made from a standard dataclass of the same form when first asked for."""

        def __get__(self, value: Any, cls: type) -> dict:
            import dataclasses

            owner = next(one for one in cls.__mro__ if "__shape__" in one.__dict__)
            said = {name: dataclasses.field(**one.words) for name, one in owner.__shape__.items()}
            standard = type(owner.__name__, (), {**said, "__annotations__": dict(owner.__annotations__)})
            words = {name: on for name, on in owner.__words__.items() if on}  # Python 3.8 has no kw_only
            owner.__dataclass_fields__ = dataclasses.dataclass(**words)(standard).__dataclass_fields__
            return owner.__dataclass_fields__

    _FIELDS = _StandardFields()

    def _owner(value: Any) -> type:
        """Return the class of `value`, or its base, that is the dataclass."""
        return next(cls for cls in type(value).__mro__ if "__shape__" in cls.__dict__)

    def _compile(cls: type, name: str, arguments: str, body: str, names: dict) -> Callable[..., Any]:
        """Compile a method of the class, set it, and return it."""
        found: dict = {}
        exec(f"def {name}({arguments}):\n {body}", {**names, "__name__": cls.__module__}, found)  # noqa: S102 - own text
        found[name].__qualname__ = f"{cls.__qualname__}.{name}"
        setattr(cls, name, found[name])
        return found[name]
