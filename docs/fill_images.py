"""Fill: the figures of docs/images.md, from what `make bench-build` measured."""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MEASURED = HERE.parent / "benchmarks/results/build.json"
DOCUMENT = HERE / "images.md"
_OPEN, _SHUT = (
    "<!-- figures: made by docs/fill_images.py from benchmarks/results/build.json -->",
    "<!-- end of figures -->",
)


def figures(measured: dict[str, Any]) -> str:
    """Write the table, and what else was measured."""
    rows = {row["name"]: row for row in measured["builds"] if "seconds" in row}
    ours = rows["preheat build"]["seconds"]["median"]
    size = measured["size"]
    machine = measured["machine"]
    lines = [
        f"{size / 1e9:.1f} GB in {measured['files']} files, from `make bench-build`; medians, with least and most in "
        "brackets, sides taking turns. The floor is one write of the same bytes with SHA-256 beside it. Bytes written "
        "are the disk's; memory is that of the command, for docker the client's alone; what is below "
        f"{measured['least_peak_rss'] / 1e6:.0f} MB cannot be told from it.",
        "",
        "| | seconds | beside ours | written to disk | peak memory |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        seconds = row["seconds"]
        lines.append(
            f"| {name} | {seconds['median']:.2f} ({seconds['least']:.2f}–{seconds['most']:.2f}) "
            f"| {seconds['median'] / ours:.2f}× | {row['written']['median'] / 1e9:.2f} GB "
            f"| {row['peak_rss']['median'] / 1e6:.0f} MB |"
        )
    lines += ["", *_more(measured, size), ""]
    said = f"{machine['cores']} cores, {machine['memory_gib']} GiB, Linux {machine['kernel']}, {machine['filesystem']}"
    lines.append(f"Measured on {said}, Python {machine['python']}, {machine['date']}.")
    return "\n".join(lines)


def _more(measured: dict[str, Any], size: int) -> list[str]:
    said = []
    if "rebuild" in measured:
        said.append(f"- Built again with nothing changed: {measured['rebuild']['seconds']['median']:.2f} s.")
    push = measured.get("push", {})
    if "moved" in push:
        said.append(f"- The next version, nine files in ten the same: {push['moved'] / size:.1%} of it moved.")
    shared = measured.get("reflinks", {})
    if "first" in shared:
        first, known = shared["first"], shared["known"]
        said.append(
            f"- On XFS, which shares extents: {first['seconds']:.2f} s, {known['seconds']:.2f} s when the layers are "
            f"known, and {first['written'] / size:.2%} of the weights written."
        )
    digests = measured.get("digests", {})
    if digests.get("same"):
        said.append(f"- One digest in all circumstances: {', '.join(digests['circumstances'])}.")
    return said


def main() -> None:
    """Fill the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(_OPEN)
    _, _, after = rest.partition(_SHUT)
    made = figures(json.loads(MEASURED.read_text(encoding="utf-8")))
    DOCUMENT.write_text(f"{before}{_OPEN}\n{made}\n{_SHUT}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
