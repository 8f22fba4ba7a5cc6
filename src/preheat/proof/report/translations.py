"""Translations: the texts of a report in one language, from phrases.toml."""

import tomllib
from importlib.resources import files

from preheat.core.errors import UsageError
from preheat.core.units import say_size

LANGUAGES = ("en", "zh")


class Tongue:
    """The texts of one language. Raise UsageError for an unsupported language."""

    def __init__(self, language: str) -> None:
        if language not in LANGUAGES:
            raise UsageError(f"the report is not available in {language!r}", hint=f"--lang {' or '.join(LANGUAGES)}")
        self.language = language
        phrases = files("preheat.proof.report").joinpath("phrases.toml").read_text(encoding="utf-8")
        self._phrases: dict[str, str] = tomllib.loads(phrases)[language]

    def say(self, phrase: str, **values: object) -> str:
        """Return a phrase with its placeholders filled in."""
        text = self._phrases[phrase]
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    def seconds(self, seconds: float) -> str:
        """Return a duration as text."""
        if seconds < 120:
            return self.say("second", n=f"{seconds:.2f}" if seconds < 10 else f"{seconds:.1f}")
        minutes, rest = divmod(round(seconds), 60)
        if minutes < 120:
            return self.say("minute", m=minutes, s=rest)
        return self.say("hour", h=minutes // 60, m=minutes % 60)

    def size(self, size: float) -> str:
        """Return a size as text. Units are the same in all languages."""
        return say_size(size)

    def count(self, count: float) -> str:
        """Return a count as text."""
        return f"{count:,.0f}"

    def percent(self, part: float) -> str:
        """Return a fraction as a percentage."""
        return f"{part * 100:.0f} %"
