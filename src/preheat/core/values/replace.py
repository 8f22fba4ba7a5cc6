"""Replace: copy an immutable value, a struct or a dataclass, with other fields."""

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

_Value = TypeVar("_Value")

if TYPE_CHECKING:
    # The type checker knows the fields of both kinds by this name.
    from dataclasses import replace
else:

    def replace(value: _Value, /, **changes: Any) -> _Value:
        """Return a copy of `value` with other values for the fields in `changes`.

        `dataclasses.replace` takes no struct at run time, although type checkers accept one. A value may be of either
        kind: a start of an app uses structs alone, because it would wait for the import of `dataclasses`.
        """
        if isinstance(value, msgspec.Struct):
            return msgspec.structs.replace(value, **changes)
        import dataclasses

        return dataclasses.replace(value, **changes)


__all__ = ["replace"]
