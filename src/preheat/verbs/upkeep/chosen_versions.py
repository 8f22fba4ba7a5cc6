"""Chosen versions: the versions of the models that are named, or that match a glob."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from preheat.core.errors import NotPreloaded
from preheat.core.ref import Ref
from preheat.core.snapshot import GLOB
from preheat.library.library import Library
from preheat.library.upkeep.usage import VersionUsage
from preheat.verbs.upkeep.remove import not_recorded, typed_model


def chosen_versions(versions: Sequence[VersionUsage], asked: Sequence[str], library: Library) -> list[VersionUsage]:
    """Return the versions of the models `asked` for by name or glob, or all. Raise NotPreloaded for no match."""
    chosen: set[Ref] = set()
    for words in asked:
        if GLOB.intersection(words):
            some = [one for one in versions if any(fnmatchcase(name, words) for name in _names(one.ref))]
            if not some:
                where = library.root
                raise NotPreloaded(f"no model in {where} matches {words}", hint="to list all models: preheat ls")
        else:
            ref = typed_model(words, library)
            some = [one for one in versions if one.ref.at("") == ref.at("")]
            if not some:
                raise not_recorded(ref, library, words)
        chosen.update(one.ref for one in some)
    return [one for one in versions if not asked or one.ref in chosen]


def _names(ref: Ref) -> tuple[str, ...]:
    """Return a model's name with its hub and without, and the same with its commit."""
    whole = [str(one) for one in (ref.at(ref.branch), ref)]
    return (*whole, *(name.partition(":")[2] for name in whole))
