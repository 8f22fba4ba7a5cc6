"""Fair share: which client makes room when a resource is used up; pure."""

from collections.abc import Hashable, Mapping
from typing import TypeVar

_Holder = TypeVar("_Holder", bound=Hashable)


def greediest(holdings: Mapping[_Holder, int], newcomer: _Holder | None = None, more: int = 1) -> _Holder | None:
    """Return who holds most, to make room for a newcomer that asks for `more`.

    Return None if the newcomer would then hold as much itself: it has to wait. Without a newcomer, return who holds
    most in any case; None if nothing is held.
    """
    most = max(holdings, key=holdings.__getitem__, default=None)
    if most is None or (newcomer is not None and holdings[most] <= holdings.get(newcomer, 0) + more):
        return None
    return most
