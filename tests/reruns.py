"""Reruns: a pytest plugin for CI. It lists each test that passed only at the second try; more than two fail the run.

Such a test hides a race, of the product or of its own. `pytest -p tests.reruns --reruns 1 --list-reruns=FILE` appends
the names to FILE; a run that is made of several calls of pytest gives the same file to each of them.
"""

from pathlib import Path

import pytest

MOST = 2


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--list-reruns", metavar="FILE", help=f"list reruns in FILE; more than {MOST} lines fail the run")


def pytest_configure(config: pytest.Config) -> None:
    """Listen to reports, if there is a file for them."""
    path = config.getoption("--list-reruns")
    # With xdist, reports reach the process that distributes the tests.
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Reruns(Path(path)), "list-reruns")


class _Reruns:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._here: dict[str, None] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if str(report.outcome) == "rerun":
            self._here[report.nodeid] = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the names down; before the closing line is printed, which tells the exit status by its colour."""
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(f"{name}\n" for name in self._here)
        if len(self._all()) > MOST and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """List them, with those of the calls before this one."""
        names = self._all()
        if names:
            terminalreporter.section("tests that were tried again")
            for name in names:
                terminalreporter.write_line(name)
            if len(names) > MOST:
                terminalreporter.write_line(
                    f"more than {MOST}: the run fails, since each of them hides a race", red=True
                )

    def _all(self) -> list[str]:
        return self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
