"""Each text in the code has a translation with the same fields, in the catalogue and in its compiled form."""

import re
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages import Catalog, Message
from babel.messages.extract import extract_from_file
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from preheat.cli.help_texts import reword_help
from preheat.cli.parser import parser
from preheat.core.translations import ENGLISH, LANGUAGES, LOCALE, catalogue

ROOT = Path(__file__).resolve().parents[2]
# Searching for the marks first is many times faster than extracting from each file.
MARKED = re.compile(r"\b(?:_|gettext|ngettext)\(")
TRANSLATED = [language for language in LANGUAGES if language != ENGLISH]


@pytest.fixture(scope="module")
def extracted() -> Catalog:
    """Return all texts that the code and the templates mark for translation, and those of --help."""
    texts = Catalog()
    for pattern, method in (("*.py", "python"), ("*.html", "jinja2")):
        for path in (ROOT / "src/preheat").rglob(pattern):
            if MARKED.search(path.read_text(encoding="utf-8")):
                for _, text, _, _ in extract_from_file(method, path):
                    texts.add(text)

    def kept(text: str) -> str:
        texts.add(text)
        return text

    reword_help(parser(), kept)
    return texts


def po(language: str) -> Catalog:
    with open(LOCALE / language / "LC_MESSAGES/preheat.po", "rb") as file:
        return read_po(file, locale=language)


def forms(text: str | list[str] | tuple[str, ...] | None) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text or ())


def fields(text: str) -> set[str]:
    return set(re.findall(r"\{(\w*)\}", text))


def untranslated(message: Message, translations: Catalog) -> str:
    """Return the fault of a text's translation, or ""."""
    found = translations.get(message.id)
    if found is None or found.fuzzy or not all(forms(found.string)):
        return f"{message.id!r} has no translation: make translations"
    wrong = [one for one in forms(found.string) if fields(one) != fields(forms(message.id)[-1])]
    return f"{wrong} must have the fields of {message.id!r}" if wrong else ""


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_text_is_translated(language: str, extracted: Catalog) -> None:
    translations = po(language)
    texts = [message for message in extracted if message.id]
    assert len(texts) > 80
    assert [wrong for message in texts if (wrong := untranslated(message, translations))] == []
    known = {forms(message.id)[0] for message in texts}
    assert {forms(message.id)[0] for message in translations if message.id} == known, "make translations"


@pytest.mark.parametrize("language", TRANSLATED)
def test_the_compiled_catalogue_matches_its_source(language: str) -> None:
    compiled = BytesIO()
    write_mo(compiled, po(language))
    assert (LOCALE / language / "LC_MESSAGES/preheat.mo").read_bytes() == compiled.getvalue(), "make translations"


def test_a_missing_translation_and_a_wrong_field_are_detected() -> None:
    translations = Catalog(locale="zh")
    translations.add("{size} missing", "还缺 {n}")
    assert "fields" in untranslated(Message("{size} missing"), translations)
    assert "no translation" in untranslated(Message("other"), translations)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_command_offers_every_language(language: str) -> None:
    assert parser().parse_args(["prove", "--lang", language]).lang == language


def test_texts_are_translated_including_plurals() -> None:
    assert catalogue("en").gettext("{size} missing") == "{size} missing"
    assert catalogue("zh").gettext("{size} missing") == "还缺 {size}"
    assert catalogue("en").ngettext("{n} request", "{n} requests", 1) == "{n} request"
    assert catalogue("zh").gettext("not in any catalogue") == "not in any catalogue"
