"""Matrix: write what tests/outsiders/test_matrix.py saw into docs/views.md.

Run the test first: `python -m pytest tests/outsiders/test_matrix.py && python docs/matrix.py`.
"""

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- matrix -->\n", "<!-- /matrix -->\n"


def table(cells: dict[str, dict[str, str]]) -> str:
    """Draw one row a client, one column a view and a condition."""
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    rows = [["client", *columns], ["---"] * (len(columns) + 1)]
    rows += [[client, *(row.get(column, "–") for column in columns)] for client, row in cells.items()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> None:
    """Put the table between its marks."""
    seen = json.loads((HERE.parent / ".outsiders/matrix.json").read_text(encoding="utf-8"))
    page = HERE / "views.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}{table(seen)}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
