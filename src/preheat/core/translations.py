"""Translations: the texts that people read, in their language, from the gettext catalogues in `locale/`.

A text in the code is its English form, marked for `make translations` by the function's name:

    _ = catalogue(language).gettext
    _("{size} missing").format(size="5.0 kB")
    ngettext("{n} client", "{n} clients", n).format(n=n)
"""

import functools
from gettext import NullTranslations, translation
from pathlib import Path

ENGLISH, CHINESE = LANGUAGES = ("en", "zh")
LOCALE = Path(__file__).parents[1] / "locale"
DOMAIN = "preheat"


@functools.cache
def catalogue(language: str) -> NullTranslations:
    """Return the texts in one of `LANGUAGES`; a text that has no translation stays English."""
    if language == ENGLISH:
        return NullTranslations()
    return translation(DOMAIN, LOCALE, [language])
