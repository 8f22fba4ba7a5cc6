"""The HTML report: self-contained, in both languages, and names cannot become markup."""

import html.parser
import re

import pytest

from preheat.core.errors import UsageError
from preheat.core.translations import LANGUAGES
from preheat.proof.report.html_page import page
from preheat.proof.report.table import sentence
from tests.proof.made import made


class Elements(html.parser.HTMLParser):
    """The elements of a page, with their links, and whether each was closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.points_to: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.points_to += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag not in ("meta", "rect", "line"):
            self.open.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += f" {data}" if "style" not in self.open else ""

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_loads_nothing_from_elsewhere(language: str) -> None:
    text = page(made((2.0, 2.2)), language)
    elements = Elements(text)
    assert elements.points_to == []
    assert not {"script", "link", "img", "iframe", "object"} & set(elements.tags)
    assert elements.open == []
    assert "svg" in elements.tags
    assert not re.search(r"https?://|url\(|@import", text)
    assert "default-src 'none'" in text


def test_the_summary_comes_first() -> None:
    text = page(made())
    assert text.index("talk is used after 2.50 s instead of 10.5 s: 4.2× faster") < text.index("<svg")
    assert "0 requests; 1.00 copies" in text
    assert "Imitated hub" in text
    assert "no GPU" in text
    assert "4.2 倍" in page(made(), "zh")


def test_a_chinese_page_has_no_english_words() -> None:
    words = set(re.findall(r"[A-Za-z]{3,}", Elements(page(made((2.0, 2.2)), "zh")).text))
    assert words - {"preheat", "Linux", "cpu", "talk", "hub", "torch", "gradio", "Python", "sha", "cgroup", "ext"} == {
        "RSS",
        "PSS",
        "GPU",
    }


def test_a_slower_start_is_reported_as_slower() -> None:
    assert "talk is used after 20.5 s instead of 10.5 s: 2.0× slower" in page(made((20.0,)))
    assert "2.0× slower" in sentence(made((20.0,)))
    assert "慢到原来的 2.0 倍" in page(made((20.0,)), "zh")


def test_a_malicious_name_stays_text() -> None:
    text = page(made(app='<script>alert("x")</script>'))
    assert "<script" not in text
    assert "<b>gradio" not in text
    assert "&lt;cpu&gt;" in text


def test_an_unsupported_language_is_rejected() -> None:
    with pytest.raises(UsageError, match="'fr'"):
        page(made(), "fr")


def test_a_report_without_preloaded_starts_shows_the_others() -> None:
    report = made()
    cold = type(report)(tuple(report.of("cold")), report.weights, "talk")
    assert "talk is used after 10.5 s (cold)" in page(cold)
