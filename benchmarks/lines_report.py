"""Lines report: results/lines.json as a table and a picture, the worst cells first.

python -m benchmarks.lines_report
"""

from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "lines.json"


def write_report() -> None: ...
