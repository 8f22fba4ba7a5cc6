"""Fault cases: the faults of a hub that clients meet, described, and the expected result of preheat."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.hub import faulty
from benchmarks.hub import odd_answers as odd
from benchmarks.hub.answers import Said
from benchmarks.hub.faulty import Delivery, Fault

WEIGHT, SMALL, HOSTILE = "model.safetensors", "config.json", "../../../escaped.json"


def _honest() -> Fault:
    return Delivery.honest


@dataclass(frozen=True, slots=True)
class Case:
    """A fault, in words, and how it is made anew for each client: of files, and of documents. `right`: it can be."""

    words: str
    make: Callable[[], Fault] = _honest
    documents: Callable[[], Fault] = _honest
    right: bool = True
    hostile: bool = False


def _file(send: Callable[[Delivery], None], times: int | None = None, path: str = WEIGHT) -> Callable[[], Fault]:
    return lambda: odd.always(send, path, times)


def _all(send: Callable[[Delivery], None], times: int | None = None) -> Callable[[], Fault]:
    return lambda: odd.always(send, "", times)


def _goes_away(delivery: Delivery) -> None:
    threading.Thread(target=delivery.hub.go_away, args=(8.0,), daemon=True).start()
    delivery.hub.closing.wait(0.5)
    raise faulty.HangUp


_BODIES = (
    Case("none"),
    Case("each answer cut after 1 MB", lambda: faulty.cuts(WEIGHT, 1_000_000, None)),
    Case("each answer cut after 40 kB", lambda: faulty.cuts(WEIGHT, 40_000, None)),
    Case("cut once", lambda: faulty.cuts(WEIGHT, 500_000, 1)),
    Case("reset once", lambda: faulty.cuts(WEIGHT, 500_000, 1, reset=True)),
    Case("one answer stalls in the middle", lambda: faulty.stalls(WEIGHT, 500_000, 1)),
    Case("one answer drips, 10 bytes a second", lambda: faulty.drips(WEIGHT, 1)),
    Case("each answer drips, a byte in two seconds", _file(odd.dripping), right=False),
    Case("a byte of a weight flipped, once", lambda: faulty.flips(WEIGHT, 100_000, 1)),
    Case("a byte of a weight flipped, always", lambda: faulty.flips(WEIGHT, 100_000, None), right=False),
    Case("a byte of a small file flipped, once", lambda: faulty.flips(SMALL, 100, 1)),
    Case("a byte of a small file flipped, always", lambda: faulty.flips(SMALL, 100, None), right=False),
    Case("zeros in place of a weight, once", _file(odd.zeros, 1)),
    Case("zeros in place of a weight, always", _file(odd.zeros), right=False),
    Case("a weight too short, said to be whole", lambda: faulty.shortens(WEIGHT, 1_000_000), right=False),
    Case("a weight longer than was listed", lambda: faulty.lengthens(WEIGHT, 1_000_000), right=False),
    Case("a weight without end", _file(odd.endless), right=False),
    Case("a web page in place of a weight, once", _file(odd.web_page, 1)),
    Case("a web page in place of a weight, always", _file(odd.web_page), right=False),
    Case("a web page in place of a small file, always", _file(odd.web_page, None, SMALL), right=False),
    Case("a success without a body, once", _file(odd.empty, 1)),
    Case("a success without a body, always", _file(odd.empty), right=False),
)
_RANGES = (
    Case("the hub knows no ranges", lambda: faulty.knows_no_ranges),
    Case("206 without Content-Range", _file(odd.with_headers(Content_Range=None))),
    Case("206 with a shifted Content-Range", _file(odd.shifted)),
    Case("206 with fewer bytes than asked for", _file(odd.of_size(-10_000))),
    Case("206 with more bytes than asked for", _file(odd.of_size(10_000))),
    Case("206 as multipart", _file(odd.multipart)),
    Case("416 to every range", lambda: odd.always(_refuses_ranges, WEIGHT)),
    Case("compressed although identity was asked for", _file(odd.zipped), right=False),
    Case("Content-Length a byte too small", _file(odd.with_headers(Content_Length="11"), 2)),
    Case("no Content-Length", _file(odd.unmeasured)),
    Case("chunked", _file(odd.chunked)),
    Case("an interim response before each answer", _all(odd.announced)),
)
_REFUSALS = (
    Case("429 five times, Retry-After: 1", lambda: faulty.refuses(5, 429, Retry_After="1")),
    Case("503 three times", lambda: faulty.refuses(3, 503)),
    Case("500 for all files for 8 s", lambda: odd.for_seconds(odd.status(500), 8)),
    Case("403 for all files for 8 s", lambda: odd.for_seconds(odd.status(403), 8)),
    Case("404 for a listed file", _file(odd.status(404)), right=False),
    Case("every second request 429", lambda: odd.every_second(odd.status(429))),
    Case("every second request 503", lambda: odd.every_second(odd.status(503))),
    Case("every second request reset", lambda: odd.every_second(odd.hang_up_hard)),
    Case("two requests at a time, others 503", lambda: odd.bears(2)),
    Case("two requests at a time, others reset", lambda: odd.bears(2, reset=True)),
    Case("one request at a time, others 429", lambda: odd.bears(1, refusal=429)),
    Case("four requests in 5 s, then 429 with Retry-After", lambda: odd.quota(4, 5, says_when=True)),
    Case("four requests in 5 s, then 429", lambda: odd.quota(4, 5, says_when=False)),
    Case("redirects in a circle", lambda: faulty.redirects_to_itself, right=False),
    Case("a redirect to nobody, once", _file(odd.redirect("https://127.0.0.1:9/x"), 1)),
    Case("a redirect to nobody, always", _file(odd.redirect("https://127.0.0.1:9/x")), right=False),
    Case("signed addresses expire after 2 s, answers end after 4 MB", lambda: faulty.signs),
    Case("a file called " + HOSTILE, right=False, hostile=True),
)
_SILENCE = (
    Case("each answer 3 s late", _all(odd.late(3))),
    Case("one answer never comes", _file(odd.never, 1)),
    Case("no answer for a weight ever comes", _file(odd.never), right=False),
    Case("a head drips, a byte in two seconds, once", _file(odd.dripping_head, 1)),
    Case("each head drips, a byte in two seconds", _file(odd.dripping_head), right=False),
    Case("an answer that is no HTTP, once", _file(odd.garbage, 1)),
    Case("answers that are no HTTP", _file(odd.garbage), right=False),
    Case("the hub is gone for 8 s in the middle", _file(_goes_away, 1)),
)
_LISTINGS = (
    Case("the listing is 3 s late", documents=_all(odd.late(3))),
    Case("the listing never comes", documents=_all(odd.never), right=False),
    Case("the listing drips, a byte in two seconds", documents=_all(odd.dripping), right=False),
    Case("the listing's head drips", documents=_all(odd.dripping_head), right=False),
    Case("the listing is cut in the middle, once", documents=_all(odd.cut_in_the_middle, 1)),
    Case("the listing is cut in the middle, always", documents=_all(odd.cut_in_the_middle), right=False),
    Case("the listing is a web page", documents=_all(odd.web_page), right=False),
    Case("the listing is 500 three times", documents=_all(odd.status(500), 3)),
    Case("the listing is 429 once, Retry-After: 2", documents=_all(odd.status(429, Retry_After="2"), 1)),
    Case("the listing is no HTTP", documents=_all(odd.garbage), right=False),
    Case("the listing has no end", documents=_all(odd.endless), right=False),
)


def _refuses_ranges(delivery: Delivery) -> None:
    if "range" in delivery.asked.headers:
        return delivery.send(Said(416, {"Content-Length": "0"}), b"")
    return delivery.honest()


CASES = (*_BODIES, *_RANGES, *_REFUSALS, *_SILENCE, *_LISTINGS)
