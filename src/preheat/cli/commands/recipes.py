"""`preheat recipes`."""

import argparse
from pathlib import Path

from preheat.cli.wiring import Wiring
from preheat.errors import UsageError
from preheat.recipes.collection import built_in, is_built_in, names, text_of
from preheat.recipes.recipe import Recipe


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Do what `preheat recipes` says."""
    if options.name is not None:
        if not is_built_in(options.name):
            raise UsageError(f"there is no built-in recipe {options.name!r}", hint="preheat recipes lists them")
        text = text_of(options.name)
        facts = _facts(built_in(options.name, Path.cwd()))
        wiring.console.done({**facts, "text": text}, text.rstrip("\n"))
        return 0
    recipes = [built_in(name, Path.cwd()) for name in names()]
    widest = max(len(recipe.name) for recipe in recipes)
    lines = [
        f"{recipe.name:{widest}}  {recipe.about}\n{'':{widest}}  verified: {recipe.verified}" for recipe in recipes
    ]
    wiring.console.done({"recipes": [_facts(recipe) for recipe in recipes]}, "\n".join(lines))
    return 0


def _facts(recipe: Recipe) -> dict[str, object]:
    return {
        "name": recipe.name,
        "about": recipe.about,
        "verified": recipe.verified,
        "needs": [str(need.ref) for need in recipe.needs],
        "makes": recipe.makes,
    }
