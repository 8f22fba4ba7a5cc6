"""Recipe writer: write a recipe as TOML for people to edit, with comments."""

from collections.abc import Sequence

import tomlkit
from tomlkit.items import Array, InlineTable

from preheat.recipes.depends import Depends
from preheat.recipes.lock_writer import write_ref
from preheat.recipes.recipe import Need, Recipe

_IN_ONE_LINE = 3


def recipe_text(recipe: Recipe, remarks: Sequence[str] = ()) -> str:
    """Return the text of a preheat.toml that parses to the same recipe; `remarks` become comments at its top."""
    document = tomlkit.document()
    for remark in remarks:
        document.add(tomlkit.comment(_one_line(remark)))
    app = tomlkit.table()
    app.add("name", recipe.name)
    if recipe.about:
        app.add("about", recipe.about)
    if recipe.verified:
        app.add("verified", recipe.verified)
    if recipe.command:
        app.add("command", list(recipe.command))
    for word, probe in (("ready", recipe.ready), ("first", recipe.first)):
        if probe:
            app.add(word, probe)
    if recipe.env:
        app.add("env", _inline(recipe.env))
    if recipe.hub:
        app.add("hub", recipe.hub)
    if recipe.memory_snapshot:
        app.add("memory_snapshot", recipe.memory_snapshot)
    if recipe.port:
        app.add("port", recipe.port)
    if recipe.thresholds:
        app.add("thresholds", _list(recipe.thresholds))
    if recipe.makes:
        app.add("makes", _list(recipe.makes))
    document.add("app", app)
    needs = tomlkit.aot()
    for need in recipe.needs:
        needs.append(_need(need, recipe))
    if recipe.needs:
        document.add("needs", needs)
    return tomlkit.dumps(document)


def _need(need: Need, recipe: Recipe) -> tomlkit.items.Table:
    table = tomlkit.table()
    table.add("ref", write_ref(need.ref, recipe.folder))
    if need.same:
        table.add("same", _list([write_ref(ref, recipe.folder) for ref in need.same]))
    if need.files:
        table.add("files", _list(need.files))
    if need.view != "hf-cache":
        table.add("view", need.view)
    if need.at:
        table.add("at", need.at)
    if need.to:
        table.add("to", _inline(need.to))
    for word, text in (("unpack", need.unpack), ("link", need.link)):
        if text:
            table.add(word, text)
    if need.optional:
        table.add("optional", need.optional)
    if need.depends is not None:
        table.add("depends", _depends(need.depends))
    return table


def _depends(depends: Depends) -> InlineTable:
    table = _inline(dict(depends.words))
    if depends.packages:
        table.append("packages", _inline(dict(depends.packages)))
    return table


def _list(words: Sequence[str]) -> Array:
    array = tomlkit.array()
    array.extend(words)
    array.multiline(len(words) > _IN_ONE_LINE)
    return array


def _inline(pairs: dict[str, str]) -> InlineTable:
    table = tomlkit.inline_table()
    for name, value in sorted(pairs.items()):
        table.append(name, value)
    return table


def _one_line(remark: str) -> str:
    return "".join(character if character.isprintable() else " " for character in remark)
