"""Matrix: write what the tests saw into docs/views.md.

Run them first: `python -m pytest tests/views/test_writes.py tests/outsiders/test_matrix.py && python docs/matrix.py`.
"""

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEPT = HERE.parent / ".outsiders"


def table(corner: str, cells: dict[str, dict[str, str]]) -> str:
    """Draw one row a key, one column a condition."""
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    rows = [[corner, *columns], ["---"] * (len(columns) + 1)]
    rows += [[name, *(row.get(column, "–") for column in columns)] for name, row in cells.items()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def put(page: str, name: str, text: str) -> str:
    """Put a text between its marks."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    before, _, rest = page.partition(begin)
    return f"{before}{begin}{text}{end}{rest.partition(end)[2]}"


def main() -> None:
    """Put each table that there is a record of into the page."""
    page = HERE / "views.md"
    text = page.read_text(encoding="utf-8")
    matrix, writes = KEPT / "matrix.json", KEPT / "writes.json"
    if matrix.is_file():
        text = put(text, "matrix", table("client", json.loads(matrix.read_text(encoding="utf-8"))))
    if writes.is_file():
        seen = json.loads(writes.read_text(encoding="utf-8"))
        text = put(text, "writes", table("`--link`", {f"`{link}`": row for link, row in seen.items()}))
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
