"""--help in the user's language."""

import unicodedata

import pytest

from preheat.cli.help_texts import reword_help, translate_help
from preheat.cli.parser import VERBS, parser
from preheat.config import language
from preheat.core.translations import CHINESE
from tests.command import Preheat


def columns(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in line)


@pytest.mark.parametrize(
    ("environ", "spoken"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "C", "LC_MESSAGES": "zh_TW"}, "zh"),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": ""}, "en"),
    ],
)
def test_the_language_is_that_of_the_locale(environ: dict[str, str], spoken: str) -> None:
    assert language(environ) == spoken


def test_help_follows_the_locale(preheat: Preheat) -> None:
    preheat.env |= {"LANG": "zh_CN.UTF-8", "PYTHONUTF8": "1"}
    for words in (("pull", "--help"), ("help", "pull")):
        told = preheat(*words)
        assert told.status == 0
        assert told.out.startswith("用法：preheat pull")
        assert "只要匹配的文件" in told.out
        assert "只要匹配的文件" in preheat("stage", "--help").out
    assert "下载模型缺少的文件" in preheat("--help").out
    preheat.env["LC_ALL"] = "C.UTF-8"
    assert "只要" not in preheat("pull", "--help").out


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_translated_help_has_the_same_words_and_fits_the_terminal(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    english, chinese = parser(), parser()
    translate_help(chinese, CHINESE)
    assert chinese.verbs[verb].options() == english.verbs[verb].options()
    shown = chinese.verbs[verb].format_help()
    usage, _, rest = shown.partition("\n\n")
    table = rest.partition("\n示例：\n")[0]
    # A word without spaces, such as an address, may be longer than its column.
    assert [line for line in table.splitlines() if columns(line) > 80 and " " in line.strip()] == []
    for option in english.verbs[verb].options():
        assert option in shown
    assert usage.startswith("用法：")


def test_rewording_with_the_same_texts_changes_nothing() -> None:
    once, again = parser(), parser()
    reword_help(again, str)
    assert again.format_help() == once.format_help()
    for verb in VERBS:
        assert again.verbs[verb].format_help() == once.verbs[verb].format_help()
