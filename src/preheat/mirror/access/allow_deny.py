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
    """Globs that select repositories: `owner/name`, `datasets/owner/name`, or `hf:owner/name` for one hub.

    `*` also matches `/`. Repositories that match a `deny` pattern are never served. If there are `allow` patterns, only
    repositories that match one of them are served. Upper and lower case are equal, as on the hubs, so that another
    spelling does not bypass a rule.
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
    """Wrap `find` so that it raises Refused (status 403) for repositories that the current rules exclude."""

    def found(ref: Ref) -> _Found:
        if not rules().admit(ref):
            # Not AccessDenied: clients would ask the user for a token.
            raise Refused(refuse(403, f"this mirror does not serve {ref.at(ref.branch)}"))
        return find(ref)

    return found


def _matches(patterns: tuple[str, ...], ref: Ref, *also: str) -> bool:
    if not patterns:
        return False
    whole = str(ref.at(ref.branch)).casefold()
    names = (whole, whole.partition(":")[2], *(name.casefold() for name in also))
    return any(fnmatchcase(name, pattern.casefold()) for pattern in patterns for name in names)
