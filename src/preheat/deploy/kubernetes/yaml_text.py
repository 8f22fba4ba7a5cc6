"""YAML text: write a text so that YAML and Kubernetes read exactly it; pure."""

import json
import re

# JSON leaves these as they are; YAML 1.1 permits them only as escapes, or reads them as line breaks.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def quoted(value: object) -> str:
    """Quote as a YAML double-quoted scalar."""
    return _ESCAPED.sub(lambda one: f"\\u{ord(one[0]):04x}", json.dumps(str(value), ensure_ascii=False))


def literal(value: object) -> str:
    """Quote a word of a command or the value of a variable, in which Kubernetes replaces `$(NAME)` and `$$`."""
    return quoted(str(value).replace("$", "$$"))


def outdented(text: str) -> str:
    """Return the lines with two spaces fewer before them."""
    return re.sub(r"(?m)^  ", "", text)
