"""Error boundary: convert an exception over a hub's invalid response to a hub error, so that the next hub is tried."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from preheat.core.errors import HubError

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


def blames_the_hub(method: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
    """Have a method of a hub raise HubError for what cannot be read: numbers, addresses and texts of any size and kind.

    Errors of ours pass as they are.
    """

    @functools.wraps(method)
    def bounded(*given: _Given.args, **named: _Given.kwargs) -> _Made:
        try:
            return method(*given, **named)
        except (ValueError, ArithmeticError, RecursionError, LookupError) as error:
            raise HubError(
                f"the hub's answer cannot be understood: {type(error).__name__}: {str(error)[:200]!r}",
                hint="try another --endpoint, or report it to whoever runs this one",
            ) from error

    return bounded
