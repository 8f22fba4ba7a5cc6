"""Secret words: remove the values that look like secrets from a command, since a recipe is a file that is shared."""

import re
from collections.abc import Collection, Sequence

from preheat.core.secret_text import HIDDEN, hide
from preheat.oci.secrets.secret_search import secret_in_text

# Options and variables whose value is a secret: --token, --hf-token, --api_key=…, PASSWORD=…
_NAMES = re.compile(
    r"(?:.*[-_.])?(?:token|(?:api|access|private|secret|auth|license)[-_]?key|apikey|secret|password|passwd|passphrase"
    r"|credentials?|bearer|authorization)",
    re.IGNORECASE,
)
# Tokens that a tokenizer has, which are no secrets.
_NO_NAMES = re.compile(
    r".*(?:pad|eos|bos|unk|mask|sep|cls|start|stop|end|image|audio|special|new|next|per|max|min|num|split|prompt)"
    r"[-_]?token",
    re.IGNORECASE,
)
_NO_VALUES = re.compile(r"|-.*|[\d.]{1,12}|true|false|none|null|auto|yes|no|\$.*|\{.*", re.IGNORECASE)
_PAIR = re.compile(r"(-{0,2}[A-Za-z][\w.-]*)=(.*)", re.DOTALL)


def without_secrets(command: Sequence[str], own: Collection[str] = ()) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a command without secrets, and what each of them was: an option's name, or a description.

    `own` are the tokens of this session. A value is a secret by the name of its option or variable, or by gitleaks'
    patterns.
    """
    words: list[str] = []
    found: list[str] = []
    before = ""
    for word in command:
        pair = _PAIR.fullmatch(word)
        name, value, start = (pair[1], pair[2], f"{pair[1]}=") if pair else (before, word, "")
        if _is_secret_name(name) and not _NO_VALUES.fullmatch(value):
            found.append(f"the value of {name}")
            words.append(start + HIDDEN)
        elif what := secret_in_text(word.encode(errors="replace"), own):
            found.append(f"{what} in word {len(words) + 1}")
            words.append(start + HIDDEN)
        elif (shown := hide(word, own)) != word:
            found.append(f"a token or login in word {len(words) + 1}")
            words.append(shown)
        else:
            words.append(word)
        before = word if word.startswith("-") and not pair else ""
    return tuple(words), tuple(found)


def _is_secret_name(name: str) -> bool:
    bare = name.lstrip("-")
    return bool(_NAMES.fullmatch(bare)) and not _NO_NAMES.fullmatch(bare)
