"""File index: render a repository as a plain HTML list of links, for browsers and wget."""

from html import escape
from urllib.parse import quote, urlencode

from preheat.core.ref import MODEL, MODELSCOPE
from preheat.core.snapshot import File, Snapshot
from preheat.core.units import say_count

# The page may load nothing, and may not be framed.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_STYLE = (
    ":root{color-scheme:light dark} body{font:16px/1.5 sans-serif;margin:2em auto;max-width:60em;padding:0 1em}"
    " td:last-child{text-align:right;padding-left:2em}"
)


def write_index(snapshot: Snapshot) -> bytes:
    """Return a page that lists a snapshot's files, each with a link to its bytes at this commit."""
    ref = snapshot.ref
    title = escape(str(ref))
    missing = "".join(f"<br>missing: {escape(name)}" for name in snapshot.unlisted or ())
    rows = "\n".join(_row(snapshot, file) for file in sorted(snapshot.files, key=lambda file: file.path))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{_STYLE}</style></head>
<body><h1>{title}</h1>
<p>{say_count(len(snapshot.files), "file")}, {snapshot.size:,} bytes, at {escape(snapshot.commit)}{missing}</p>
<table>
{rows}
</table></body></html>
""".encode()


def _row(snapshot: Snapshot, file: File) -> str:
    link = escape(_address(snapshot, file))
    # A name may contain characters that change the text direction; <bdi> keeps that inside the name.
    name = f'<a href="{link}" title="{file.digest}"><bdi>{escape(file.path)}</bdi></a>'
    return f"<tr><td>{name}</td><td>{file.size:,}</td></tr>"


def _address(snapshot: Snapshot, file: File) -> str:
    ref = snapshot.ref
    kinds = "" if ref.kind == MODEL else f"{ref.kind}s/"
    if ref.hub == MODELSCOPE:
        return f"/api/v1/{kinds or 'models/'}{quote(ref.repo)}/repo?" + urlencode(
            {"Revision": ref.revision, "FilePath": file.path}
        )
    return f"/{kinds}{quote(ref.repo)}/resolve/{snapshot.commit}/{quote(file.path)}"
