"""The `preheat recipes` command."""

import argparse
from pathlib import Path

from preheat.cli.hints import as_typed
from preheat.cli.wiring import Wiring
from preheat.core.errors import UsageError, did_you_mean
from preheat.core.units import say_size
from preheat.recipes.builtin_recipes import built_in, form_text, is_built_in, names, shipped_lock, text_of
from preheat.recipes.recipe import Recipe, json_schema


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat recipes`; return the exit status."""
    if options.form or options.schema:
        text = form_text() if options.form else json_schema()
        wiring.console.done({"text": text}, text.rstrip("\n"))
        return 0
    if options.name is not None:
        if not is_built_in(options.name):
            hint = f"{did_you_mean(options.name, names())}to list them: preheat recipes"
            raise UsageError(f"there is no built-in recipe {options.name!r}", hint=hint)
        text = text_of(options.name)
        facts = _facts(built_in(options.name, Path.cwd()))
        wiring.console.done({**facts, "text": text}, text.rstrip("\n"))
        return 0
    recipes = [built_in(name, Path.cwd()) for name in names()]
    widest = max(len(recipe.name) for recipe in recipes)
    indent = f"\n{'':{widest}}  "
    lines = [
        f"{recipe.name:{widest}}  {recipe.about}{indent}verified: {recipe.verified}{indent}{_locked(recipe)}"
        for recipe in recipes
    ]
    wiring.console.done({"recipes": [_facts(recipe) for recipe in recipes]}, as_typed("\n".join(lines), options))
    return 0


def _locked(recipe: Recipe) -> str:
    """Return a line about the digests in the recipe's shipped lock."""
    lock = shipped_lock(recipe.name, recipe.folder)
    count = sum(len(pinned.snapshot.files) for pinned in lock.needs)
    size = sum(pinned.snapshot.size for pinned in lock.needs)
    if not count:
        return f"digests: none shipped; to pin those that the hub lists: preheat lock {recipe.name}"
    return f"digests: {count} files ({say_size(size)}) are checked against shipped digests, the others against commits"


def _facts(recipe: Recipe) -> dict[str, object]:
    return {
        "name": recipe.name,
        "about": recipe.about,
        "verified": recipe.verified,
        "needs": [str(need.ref) for need in recipe.needs],
        "optional": [str(need.ref) for need in recipe.needs if need.optional],
        "makes": recipe.makes,
        "locked": {
            str(pinned.need.ref): {file.path: str(file.digest) for file in pinned.snapshot.files}
            for pinned in shipped_lock(recipe.name, recipe.folder).needs
        },
    }
