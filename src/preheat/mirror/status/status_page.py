"""Status page: a mirror's status as HTML, without external resources, and as words for terminals; pure."""

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path

from preheat.core.pages import render
from preheat.core.translations import catalogue
from preheat.core.units import say_count, say_size
from preheat.mirror.status.mirror_status import Standing

_FOLDER = Path(__file__).parent
_STYLE = (_FOLDER / "page.css").read_text(encoding="utf-8")
# The script only replaces the page's live part with a newer copy from the server.
_SCRIPT = (_FOLDER / "page.js").read_text(encoding="utf-8")


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


# Only the style and script above may load, even if a model's name contains HTML.
POLICY = (
    f"default-src 'none'; style-src {_source(_STYLE)}; script-src {_source(_SCRIPT)}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def write_page(standing: Standing, url: str, language: str) -> str:
    """Return the page in a language; `url` is the URL by which the browser reached the mirror."""
    values = {
        "standing": standing,
        "age": _age(standing.up_s, language),
        "utc": _utc,
        "lines": ways_in(url),
        "style": _STYLE,
        "script": _SCRIPT,
    }
    return render(_FOLDER / "page.html", language, values)


def write_words(standing: Standing, url: str) -> str:
    """Return a short version for terminals."""
    lines = [f"preheat mirror: {say_count(len(standing.models), 'version')}, {say_size(standing.stored)}", ""]
    lines += [f"  {one.ref}  {one.commit[:12]}  {say_size(one.size)}" for one in standing.models]
    lines += [
        f"  fetching {one.ref} {one.path}: {say_size(one.done)} of {say_size(one.size)}" for one in standing.under_way
    ]
    if standing.served.evicted:
        lines.append(
            f"  evicted {say_count(standing.served.evicted, 'version')}, {say_size(standing.served.evicted_size)}"
        )
    return "\n".join((*lines, *([""] if len(lines) > 2 else []), *ways_in(url), "")) + "\n"


def ways_in(url: str) -> tuple[str, ...]:
    """Return the lines that configure each client."""
    secure, host = url.startswith("https://"), url.partition("://")[2]
    modelscope = f"export MODELSCOPE_ENDPOINT={url}"
    if secure:
        # Clients before 1.28 accept only a host, and always use TLS.
        modelscope += f" MODELSCOPE_DOMAIN={host}"
    return (f"export HF_ENDPOINT={url}", modelscope, f"preheat pull OWNER/NAME --endpoint hf={url}")


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _age(seconds: float, language: str) -> str:
    _ = catalogue(language).gettext
    if seconds < 60:
        return _("{n} s").format(n=int(seconds))
    hours, minutes = divmod(int(seconds // 60), 60)
    if hours == 0:
        return _("{m} min").format(m=minutes)
    if hours < 48:
        return _("{h} h {m} min").format(h=hours, m=minutes)
    return _("{d} d {h} h").format(d=hours // 24, h=hours % 24)
