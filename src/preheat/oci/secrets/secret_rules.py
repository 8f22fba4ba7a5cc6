"""Secret rules: the token formats of gitleaks, and of the hubs. docs/adr/0019-secrets-by-gitleaks-rules.md.

`gitleaks.toml` is the unchanged file of https://github.com/gitleaks/gitleaks, under the licence beside it.
"""

import functools
import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

# The part that all rules with a name near the value contain: an operator between both.
_OPERATOR = "(?:=|>|:{1,3}=|"
# Other rules that need words around a value, or that take any 40 hexadecimal digits near a name.
_IN_CONTEXT = frozenset(
    (
        "airtable-personnal-access-token",
        "curl-auth-header",
        "curl-auth-user",
        "facebook-access-token",
        "freemius-secret-key",
        "gitlab-session-cookie",
        "kubernetes-secret-yaml",
        "nuget-config-password",
        "sourcegraph-access-token",
    )
)
# This rule matches any word with enough letters: half of its findings in harmless files are hashes.
_LEFT_OUT = frozenset(("generic-api-key",))
_HUBS: tuple[Mapping[str, Any], ...] = (
    {"id": "huggingface-token", "regex": r"\bhf_[A-Za-z0-9]{34}\b", "keywords": ["hf_"], "entropy": 3},
    {
        "id": "modelscope-token",
        "regex": r"\bms-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
        "keywords": ["ms-"],
        "entropy": 2.5,
    },
)
_POSIX_CLASSES = {"[:alnum:]": "A-Za-z0-9", "[:alpha:]": "A-Za-z", "[:digit:]": "0-9"}
_PARTS = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|\(\?i\)|.", re.DOTALL)


@dataclass(frozen=True)
class SecretRule:
    """One rule: a match of `regex` is a secret if it has enough entropy and is not allowed.

    One of the `keywords`, in lower case, is in or near each match. `in_context`: the token alone does not show its
    issuer, so the rule also reads the words around it.
    """

    id: str
    regex: str
    keywords: tuple[str, ...]
    entropy: float
    group: int
    allowed: tuple[str, ...]
    stopwords: tuple[str, ...]

    @property
    def in_context(self) -> bool:
        """Whether the rule needs words around the token."""
        return self.id in _IN_CONTEXT or _OPERATOR in self.regex

    @functools.cached_property
    def pattern(self) -> re.Pattern[bytes]:
        """The regular expression in Python's syntax."""
        return re.compile(in_python(self.regex).encode())

    @functools.cached_property
    def _allowed(self) -> tuple[re.Pattern[bytes], ...]:
        return tuple(re.compile(in_python(one).encode()) for one in self.allowed)

    def found_in(self, body: bytes, start: int = 0, stop: int | None = None) -> bool:
        """Return whether bytes `start` to `stop` contain a secret of this kind."""
        return any(map(self._is_secret, self.pattern.finditer(body, start, len(body) if stop is None else stop)))

    def starts_at(self, body: bytes, start: int, stop: int) -> bool:
        """Return whether a secret of this kind starts at byte `start`, and ends before `stop`."""
        match = self.pattern.match(body, start, stop)
        return match is not None and self._is_secret(match)

    def _is_secret(self, match: re.Match[bytes]) -> bool:
        secret = match[self.group] if self.group else next((part for part in match.groups() if part), match[0])
        return (
            _entropy(secret) > self.entropy
            and not any(one.search(secret) for one in self._allowed)
            and not any(word.encode() in secret.lower() for word in self.stopwords)
        )


@functools.cache
def rules() -> tuple[SecretRule, ...]:
    """Return all rules for contents. Reads a file once; each rule is compiled on first use."""
    fields = tomllib.loads(files(__package__).joinpath("gitleaks.toml").read_text(encoding="utf-8"))
    everywhere = fields["allowlist"]
    return tuple(
        _rule(one, everywhere) for one in (*_HUBS, *fields["rules"]) if "regex" in one and one["id"] not in _LEFT_OUT
    )


def _rule(fields: Mapping[str, Any], everywhere: Mapping[str, Sequence[str]]) -> SecretRule:
    # Lists for the whole line or for paths are for source code, and are not used.
    lists = [one for one in fields.get("allowlists", ()) if "regexTarget" not in one]
    return SecretRule(
        fields["id"],
        fields["regex"],
        tuple(fields["keywords"]),
        fields.get("entropy", 0),
        fields.get("secretGroup", 0),
        (*everywhere["regexes"], *(regex for one in lists for regex in one.get("regexes", ()))),
        (*everywhere["stopwords"], *(word for one in lists for word in one.get("stopwords", ()))),
    )


def in_python(regex: str) -> str:
    r"""Convert a Go regular expression to Python's syntax: `(?i)` in the middle, `\z`, and POSIX classes.

    In Go, a flag in the middle applies up to the end of its group, in all later alternatives.
    """
    return "".join(_converted(regex))


def _converted(regex: str) -> Iterator[str]:
    flagged = [False]  # for each open group, whether a `(?i:` is open in it
    for number, part in enumerate(_PARTS.findall(regex)):
        if part == "(?i)" and number:
            if not flagged[-1]:
                yield "(?i:"
            flagged[-1] = True
            continue
        if part in ("|", ")") and flagged[-1]:
            yield ")"
        if part == "(":
            flagged.append(False)
        elif part == ")" and len(flagged) > 1:
            flagged.pop()
        if part == r"\z":
            part = r"\Z"
        for name, letters in _POSIX_CLASSES.items():
            part = part.replace(name, letters)
        yield part
        if part == "|" and flagged[-1]:
            yield "(?i:"
    if flagged[0]:
        yield ")"


def _entropy(secret: bytes) -> float:
    """Return the Shannon entropy in bits per byte, as gitleaks does."""
    counts = Counter(secret).values()
    return -sum(count / len(secret) * math.log2(count / len(secret)) for count in counts)
