"""Value: dataclasses as far as the guard uses them, without the 15 ms that importing and making them takes.

The same words with the same meaning, so that type checkers read them as the standard library's: `dataclass` with
`frozen`, `field` with `default_factory`, `replace`. Who asks a value for its fields gets real ones, made then.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace
else:

    class _Made:
        def __init__(self, factory):
            self.factory = factory

    class _Fields:
        """What dataclasses.fields() and its like look for, made when they do."""

        def __get__(self, instance, owner):
            import dataclasses

            body = {"__annotations__": dict(owner.__annotations__)}
            for name, default in owner._defaults.items():
                made = isinstance(default, _Made)
                body[name] = dataclasses.field(default_factory=default.factory) if made else default
            return dataclasses.dataclass(type(owner.__name__, (), body)).__dataclass_fields__

    def field(*, default_factory):
        """Give a field a default of its own, made anew each time."""
        return _Made(default_factory)

    def dataclass(cls=None, *, frozen=False):
        """Make a class a value: its annotated names, in their order, are its fields."""
        if cls is None:
            return lambda cls: dataclass(cls, frozen=frozen)
        names = tuple(cls.__annotations__)
        defaults = {name: cls.__dict__[name] for name in names if name in cls.__dict__}
        needed = len(names) - len(defaults)

        def __init__(self, *values, **named):  # noqa: N807 - put on the class below
            own = self.__dict__
            if len(values) > len(names):
                raise TypeError(f"{cls.__name__}() takes {len(names)} values, not {len(values)}")
            own.update(zip(names, values))
            for name in named:
                if name not in names or name in own:
                    raise TypeError(f"{cls.__name__}() got an unexpected value {name!r}")
            own.update(named)
            if len(own) < len(names):
                for name in names:
                    if name not in own:
                        if name not in defaults:
                            raise TypeError(f"{cls.__name__}() misses the value {name!r}")
                        default = defaults[name]
                        own[name] = default.factory() if type(default) is _Made else default

        def __repr__(self):  # noqa: N807 - put on the class below
            said = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
            return f"{cls.__qualname__}({said})"

        def __eq__(self, other):  # noqa: N807 - put on the class below
            if other.__class__ is not self.__class__:
                return NotImplemented
            return all(getattr(self, name) == getattr(other, name) for name in names)

        def __hash__(self):  # noqa: N807 - put on the class below
            return hash(tuple(getattr(self, name) for name in names))

        def refuse(self, name, *_):  # noqa: ARG001 - a method of the class
            raise AttributeError(f"cannot assign to field {name!r}")

        assert all(name in defaults for name in names[needed:]), cls
        cls.__init__ = cls.__dict__.get("__init__", __init__)
        cls.__repr__ = cls.__dict__.get("__repr__", __repr__)
        cls.__eq__ = __eq__
        cls.__hash__ = __hash__ if frozen else None
        if frozen:
            cls.__setattr__ = cls.__delattr__ = refuse
        cls._defaults = defaults
        cls.__dataclass_fields__ = _Fields()
        return cls

    def replace(value, **changes):
        """Make another value, with some fields changed."""
        return type(value)(**{**value.__dict__, **changes})


__all__ = ["dataclass", "field", "replace"]
