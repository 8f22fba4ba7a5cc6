"""Error boundary: convert exceptions caused by a hub's invalid response to HubError, so the next hub is tried."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from preheat.core.errors import HubError

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


def blames_the_hub(method: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
    """Decorate a hub's method: exceptions from parsing its response become HubError; PreheatErrors pass unchanged."""

    @functools.wraps(method)
    def bounded(*given: _Given.args, **named: _Given.kwargs) -> _Made:
        try:
            return method(*given, **named)
        except (ValueError, ArithmeticError, RecursionError, LookupError) as error:
            raise HubError(
                f"the hub's response is invalid: {type(error).__name__}: {str(error)[:200]!r}",
                hint="try another --endpoint, or report it to the operator of this one",
            ) from error

    return bounded
