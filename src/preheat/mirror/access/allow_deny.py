"""Allow and deny: select the repositories that a mirror serves, by patterns."""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

from preheat.core.ref import Ref
from preheat.mirror.http.messages import Refused, refuse

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Rules:
    """Globs over `owner/name`, `datasets/owner/name`, or with the hub, `hf:owner/name`; `*` matches `/` too.

    Repositories that match `deny` are never served; if there is any `allow` pattern, only those that match it are. Case
    is ignored, as the hubs do, so that another spelling does not bypass a rule.
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def admit(self, ref: Ref) -> bool:
        """Return whether a repository is served, at any revision."""
        # A denied owner's datasets and spaces are denied too; allowed ones must be named.
        if _matches(self.deny, ref, ref.repo):
            return False
        return not self.allow or _matches(self.allow, ref)


def ruled(find: Callable[[Ref], _Found], rules: Callable[[], Rules]) -> Callable[[Ref], _Found]:
    """Return a `find` that raises Refused (403) for repositories that the current rules exclude."""

    def found(ref: Ref) -> _Found:
        if not rules().admit(ref):
            # Not AccessDenied: clients would ask the user for a token.
            raise Refused(refuse(403, f"this mirror does not serve {ref.at(ref.branch)}"))
        return find(ref)

    return found


def _matches(patterns: tuple[str, ...], ref: Ref, *also: str) -> bool:
    whole = str(ref.at(ref.branch)).casefold()
    names = (whole, whole.partition(":")[2], *(name.casefold() for name in also))
    return any(fnmatchcase(name, pattern.casefold()) for pattern in patterns for name in names)
