"""Line cells: the kinds of line that the grid of `make bench-lines` has."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.hub.line import Bottleneck, Line

RESULTS = Path(__file__).parent / "results" / "lines"
_FILLS_S, _MOST = 16.0, 1_000_000_000
_RATES, _ROUND_TRIPS, _BUFFERS = (2.0, 8.0, 50.0, 800.0), (20.0, 200.0), (0.1, 1.5, 6.0)
_CAPS, _LOSSES = (0.0, 1.0), (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Cell:
    """A kind of line: Mbit/s in all, ms there and back, s of buffer, MB/s a connection (0: any), % of packets lost."""

    rate: float
    round_trip: float
    buffer: float
    cap: float
    loss: float

    @property
    def figures(self) -> tuple[float, ...]:
        """The cell's figures, as in the file of results."""
        return self.rate, self.round_trip, self.buffer, self.cap, self.loss

    @property
    def kept(self) -> Path:
        """The file of the cell's results."""
        return RESULTS / f"{'-'.join(f'{figure:g}' for figure in self.figures)}.json"

    @property
    def words(self) -> str:
        """Format the cell for the table."""
        cap = f", {self.cap:g} MB/s a connection" if self.cap else ""
        loss = f", {self.loss:g} % lost" if self.loss else ""
        return f"{self.rate:g} Mbit/s, {self.round_trip:g} ms, buffer {self.buffer:g} s{cap}{loss}"

    @property
    def size(self) -> int:
        """Return a number of bytes large enough that the start of the transfer matters little."""
        return min(int(self.rate * 125_000 * _FILLS_S), _MOST)

    def line(self) -> Line:
        """Create the line."""
        narrow = Bottleneck(int(self.rate * 125_000), self.buffer, self.loss / 100)
        return Line(self.round_trip / 1000, narrow)


def grid() -> Iterator[Cell]:
    """List all cells; where the line carries no more than one connection may, a cap makes no other cell."""
    for figures in itertools.product(_RATES, _ROUND_TRIPS, _BUFFERS, _CAPS, _LOSSES):
        cell = Cell(*figures)
        if not cell.cap or cell.rate > 8 * cell.cap:
            yield cell
