"""The mirror's own URLs: page, metrics and login; the hubs' URLs are passed on."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.events import Evicted
from preheat.core.ref import Ref
from preheat.core.translations import CHINESE, ENGLISH, LANGUAGES
from preheat.mirror.access.token_auth import TokenAuth
from preheat.mirror.http.messages import Answer, Request
from preheat.mirror.status.counters import Eviction, RequestCounts
from preheat.mirror.status.metrics import write_metrics
from preheat.mirror.status.mirror_status import Model, Standing
from preheat.mirror.status.status_page import write_page, write_words
from preheat.mirror.status.status_routes import preferred, reception
from preheat.mirror.upstream.fetches import Counts, UnderWay

URL = "http://mirror.lan:8000"
BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"


def standing(name: str = "hf:acme/tiny", path: str = "model.safetensors") -> Standing:
    models = (Model(name, "0" * 40, ("main",), True, 12_000_000, 5_000), Model("ms:b/c", "1" * 40, (), False, 1, 0))
    under_way = (UnderWay(Ref.parse("hf:acme/large"), path, 400, 1000, 3),)
    fetched = Counts(hits=7, misses=2, fetched=1, failed=1, received=1_000_000)
    gone = Evicted(Ref.parse("hf:acme/gone"), "2" * 40, ("main", "v1"), 900)
    evictions = (Eviction(1_700_000_000.0, gone),)
    served = RequestCounts({200: 12, 404: 1}, 51_000_000, 50_000_000, 2, 900, evictions)
    return Standing(7300.0, models, 12_000_001, 200_000_000_000, under_way, fetched, served, 4, 1, 5)


def ask(target: str, method: str = "GET", **fields: str) -> Answer:
    received = reception(lambda request: Answer(299, {}), standing, TokenAuth, lambda: URL)
    return received(Request(method, target, {name.replace("_", "-"): value for name, value in fields.items()}))


class Shown(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.elements.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_browser_gets_a_page_and_a_program_gets_text() -> None:
    page = ask("/", accept=BROWSER)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert isinstance(page.body, bytes)
    assert page.headers["Content-Length"] == str(len(page.body))
    words = ask("/", accept="*/*", host="10.0.0.1:8000")
    assert isinstance(words.body, bytes)
    assert b"export HF_ENDPOINT=http://10.0.0.1:8000\n" in words.body
    assert ask("/", accept=BROWSER, method="HEAD").body == b""
    assert ask("/", method="POST").status == 405
    assert ask("/api/models/acme/tiny").status == 299
    assert ask("/livez").status == 200


def test_the_page_lists_the_librarys_content() -> None:
    shown = Shown(write_page(standing(), URL, ENGLISH))
    for said in ("hf:acme/tiny", "12.0 MB", "5.0 kB missing", "pinned", "model.safetensors", "400 B / 1.0 kB"):
        assert said in shown.text
    for said in ("clients: 3", "49.0 MB", "50.0 MB sent, 1.0 MB from upstream", "200.0 GB", f"HF_ENDPOINT={URL}"):
        assert said in shown.text
    for said in ("2 versions, 900 B", "hf:acme/gone", "2023-11-14 22:13 UTC", "main v1 222222222222"):
        assert said in shown.text
    assert f"export MODELSCOPE_ENDPOINT={URL}\n" in shown.text
    assert "MODELSCOPE_DOMAIN" not in shown.text
    assert "MODELSCOPE_DOMAIN=m:1" in write_page(standing(), "https://m:1", ENGLISH)
    chinese = Shown(write_page(standing(), URL, CHINESE)).text.partition(URL)[0]
    assert "preheat 镜像" in chinese
    assert not re.search("missing|pinned|clients|sent|allowed", chinese.partition("setInterval")[0])


@pytest.mark.parametrize(
    ("up_s", "english", "chinese"),
    [
        (5, "up 5 s", "5 秒"),
        (300, "up 5 min", "5 分钟"),
        (7500, "up 2 h 5 min", "2 小时 5 分"),
        (200_000, "up 2 d 7 h", "2 天 7 小时"),
    ],
)
def test_the_page_shows_how_long_the_mirror_is_up(up_s: int, english: str, chinese: str) -> None:
    status = replace(standing(), up_s=up_s)
    assert english in Shown(write_page(status, URL, ENGLISH)).text
    assert chinese in Shown(write_page(status, URL, CHINESE)).text


def test_the_page_loads_nothing_from_elsewhere() -> None:
    page = write_page(standing(), URL, ENGLISH)
    assert re.findall(r'(?:src|href)="', page) == []
    assert "@import" not in page
    assert "url(" not in page


@given(name=st.text(max_size=40), path=st.text(max_size=40), url=st.text(max_size=40))
def test_any_model_name_is_shown_as_text(name: str, path: str, url: str) -> None:
    plain = Shown(write_page(standing(), URL, ENGLISH)).elements
    assert (
        Shown(write_page(standing(f"{name}<script>", f"{path}<img src=x>"), f"{url}'\"><b>", ENGLISH)).elements == plain
    )


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ("", "en"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"), ("en-US,en;q=0.9,zh;q=0.8", "en"), ("de,zh;q=0.3", "zh-CN"),
        ("fr", "en"), ("zh;q=0", "en"), ("zh;q=x", "en"), ("ZH-TW", "zh-CN"), ("*", "en"),
    ],
)  # fmt: skip
def test_the_browser_chooses_the_language(wish: str, code: str) -> None:
    assert preferred(wish) == code[:2]
    page = ask("/", accept=BROWSER, accept_language=wish).body
    assert isinstance(page, bytes)
    assert f'<html lang="{code}">'.encode() in page


@given(st.text(max_size=60))
def test_any_accept_language_header_has_a_result(wish: str) -> None:
    assert preferred(wish) in LANGUAGES


def test_the_instructions_use_the_url_that_the_client_used() -> None:
    def line(**fields: str) -> str:
        body = ask("/", **fields).body
        assert isinstance(body, bytes)
        return next(line for line in body.decode().splitlines() if line.startswith("export HF"))

    assert line(host="a:1") == "export HF_ENDPOINT=http://a:1"
    assert line(host="a", x_forwarded_proto="https") == "export HF_ENDPOINT=https://a"
    assert line(host="a$(b)") == f"export HF_ENDPOINT={URL}"
    assert line(host="a", x_forwarded_proto="javascript") == "export HF_ENDPOINT=http://a"


def test_the_status_is_available_as_json() -> None:
    body = ask("/status.json").body
    assert isinstance(body, bytes)
    told = json.loads(body)
    assert told["library"]["models"][0]["ref"] == "hf:acme/tiny"
    assert told["fetches"] == [
        {"ref": "hf:acme/large", "path": "model.safetensors", "done": 400, "size": 1000, "clients": 3}
    ]
    assert told["saved"] == 49_000_000
    assert told["library"]["cap"] == 200_000_000_000


def test_metrics_have_prometheus_form() -> None:
    lines = write_metrics(standing()).splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    pattern = r'preheat_mirror_[a-z_]+(\{[a-z]+="[^"\\]*"\})? [0-9]+(\.[0-9]+)?'
    assert [line for line in samples if not re.fullmatch(pattern, line)] == []
    assert 'preheat_mirror_answers_total{status="404"} 1' in samples
    assert "preheat_mirror_received_bytes_total 1000000" in samples
    helped = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(helped) == len(set(helped))
    assert {re.split(r"[ {]", line)[0] for line in samples} == set(helped)


def test_with_a_token_only_liveness_is_public() -> None:
    received = reception(lambda request: Answer(299, {}), standing, lambda: TokenAuth(("a-token-it-is",)), lambda: URL)
    for target in ("/", "/status.json", "/metrics", "/api/models/acme/tiny"):
        assert received(Request("GET", target)).status == 401
        assert received(Request("GET", target, {"authorization": "Bearer a-token-it-is"})).status in (200, 299)
    assert received(Request("GET", "/livez")).body == b"ok\n"


def test_an_old_client_logs_in_and_sends_its_cookie() -> None:
    received = reception(lambda request: Answer(299, {}), standing, lambda: TokenAuth(("a-token-it-is",)), lambda: URL)

    def log_in(body: bytes) -> Answer:
        return received(Request("POST", "/api/v1/login", {}, body))

    for token in ("a-token-it-is", "a-token-it-is:of-the-hub"):
        answer = log_in(json.dumps({"AccessToken": token}).encode())
        assert answer.status == 200
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        assert received(Request("GET", "/", {"cookie": cookie})).status == 200
    for body in (
        b"",
        b"[]",
        b'{"AccessToken": 1}',
        b'{"AccessToken": "other"}',
        b'{"AccessToken": "a-token-it-is:;\\r\\n"}',
    ):
        assert log_in(body).status == 401


def test_the_text_form_is_short() -> None:
    assert len(write_words(standing(), URL).splitlines()) < 12
