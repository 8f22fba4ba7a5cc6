"""Error boundary: convert exceptions caused by a hub's invalid response to HubError, so the next hub is tried."""

import functools
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from preheat.core.errors import HubError, PreheatError
from preheat.core.secret_text import hide, one_line

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


def blames_the_hub(method: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
    """Decorate a hub's method: exceptions from parsing its response become HubError; PreheatErrors pass.

    The hub's `secrets`, which a response may repeat, are removed from their messages.
    """

    @functools.wraps(method)
    def bounded(*given: _Given.args, **named: _Given.kwargs) -> _Made:
        secrets: Sequence[str] = getattr(given[0], "secrets", ())
        try:
            return method(*given, **named)
        except PreheatError as error:
            hide_in(error, secrets)
            raise
        except (ValueError, ArithmeticError, RecursionError, LookupError) as error:
            failure = HubError(
                f"the hub's response is invalid: {type(error).__name__}: {one_line(str(error))!r}",
                hint="try another --endpoint, or report it to the operator of this one",
            )
            failure.__cause__ = error
            hide_in(failure, secrets)
            raise failure from failure.__cause__

    return bounded


def hide_in(error: PreheatError, secrets: Sequence[str]) -> None:
    """Remove secrets from an error: from its message, its hint, and the exceptions that caused it."""
    error.message, error.hint = hide(error.message, secrets), hide(error.hint, secrets)
    error.args = (error.message,)
    cause = error.__cause__ or error.__context__
    seen: list[BaseException] = []
    while cause is not None and cause not in seen:  # an exception may be the cause of itself
        seen.append(cause)
        if any(secret in str(cause) for secret in secrets):
            error.__cause__, error.__context__, error.__suppress_context__ = None, None, True
            return
        cause = cause.__cause__ or cause.__context__
