"""Reruns: a pytest plugin for CI. It lists each test that failed at the first try, and why; more than two fail the run.

Such a test hides a race, of the product or of its own. `pytest -p tests.reruns --reruns 1 --list-reruns=FILE` appends
a line for each to FILE: its name, a tab, and why. A run that is made of several calls of pytest gives the same file to
each of them.
"""

from pathlib import Path

import pytest

MOST = 2
# What pytest adds to a warning about something that was left open.
_ADVICE = ("Enable tracemalloc ", "See https://docs.pytest.org")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--list-reruns", metavar="FILE", help=f"list reruns in FILE; more than {MOST} lines fail the run")


def pytest_configure(config: pytest.Config) -> None:
    """Listen to reports, if a file for them is given."""
    path = config.getoption("--list-reruns")
    # With xdist, reports reach the process that distributes the tests.
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Reruns(Path(path)), "list-reruns")


def why(report: pytest.TestReport) -> str:
    """Return in one line when, where and why it failed: the first and last line of the error and of its cause."""
    crashes = [crash for _, crash, _ in getattr(report.longrepr, "chain", ()) if crash is not None]
    texts = [f"{Path(crash.path).name}:{crash.lineno}: {crash.message}" for crash in crashes] or [report.longreprtext]
    return f"{report.when}: " + " … ".join(dict.fromkeys((*_ends(texts[-1]), *_ends(texts[0]))))


def _ends(text: str) -> tuple[str, str]:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(_ADVICE)] or ["?"]
    return lines[0], lines[-1]


class _Reruns:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._here: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if str(report.outcome) == "rerun":
            self._here.setdefault(report.nodeid, why(report))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the list, before the summary line is printed, whose colour shows the exit status."""
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(f"{name}\t{reason}\n" for name, reason in self._here.items())
        if len(self._all()) > MOST and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """List the names and reasons, with those of earlier calls."""
        lines = self._all()
        if lines:
            terminalreporter.section("tests that were tried again")
            for line in lines:
                name, _, reason = line.partition("\t")
                terminalreporter.write_line(name)
                terminalreporter.write_line(f"    {reason}")
            if len(lines) > MOST:
                terminalreporter.write_line(
                    f"more than {MOST}: the run fails, since each of them hides a race", red=True
                )

    def _all(self) -> list[str]:
        return self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
