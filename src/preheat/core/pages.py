"""Pages: render the Jinja2 template of an HTML page, in one language; every value is escaped."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from preheat.core.translations import CHINESE, catalogue
from preheat.core.units import say_path, say_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment


def render(template: Path, language: str, values: Mapping[str, object]) -> str:
    """Render `template` with `values`; templates can also use `_`, `ngettext`, `lang`, `say_size` and `say_path`."""
    return _environment(template.parent, language).get_template(template.name).render(values)


@functools.cache
def _environment(folder: Path, language: str) -> Environment:
    # Imported only when needed: it takes 40 ms, and most mirrors never show their page.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    texts = catalogue(language)
    environment.globals |= {
        "_": texts.gettext,
        "ngettext": texts.ngettext,
        "lang": "zh-CN" if language == CHINESE else language,
        "say_size": say_size,
        "say_path": say_path,
    }
    return environment
