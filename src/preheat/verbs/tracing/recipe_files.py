"""Recipe files: write a traced recipe and its lock, and keep an earlier recipe that had more."""

from collections.abc import Sequence
from pathlib import Path

from preheat.core.errors import UsageError
from preheat.core.units import say_count, say_size
from preheat.core.values.replace import replace
from preheat.disk.temporary_file import tidy, write_whole
from preheat.recipes.inference.infer import Inferred
from preheat.recipes.lock_file import Lock, lock_path, read_lock
from preheat.recipes.recipe import Recipe, read_recipe
from preheat.recipes.recipe_writer import recipe_text
from preheat.verbs.lock import keep_lock

_OLD = ".old"


class RecipeFiles:
    """The recipe at `path` and its lock, as they were, and as a trace writes them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = path.with_suffix(lock_path(Recipe("app", path.parent)).suffix)

    def keep_fuller(self, lock: Lock) -> str:
        """Keep an earlier recipe that has files which `lock` lacks, under another name; return what it had, in words.

        Raise UsageError if it cannot be kept.
        """
        lost = self._lost(lock)
        if not lost:
            return ""
        try:
            for path in (self._path, self._lock):
                if path.exists():
                    path.replace(path.with_name(path.name + _OLD))
        except OSError as error:
            raise self._unwritable(error) from error
        name = self._path.name
        return f"the earlier {name} had {lost}, which this start did not use; it is kept as {name}{_OLD}"

    def write(self, inferred: Inferred, remarks: Sequence[str]) -> None:
        """Write both files. Raise UsageError if they cannot be written."""
        try:
            tidy(self._path)
            write_whole(self._path, recipe_text(inferred.recipe, remarks).encode(errors="replace"))
        except OSError as error:
            raise self._unwritable(error) from error
        keep_lock(self._lock, inferred.lock)

    def _lost(self, lock: Lock) -> str:
        """Return in words what the earlier recipe has and `lock` lacks; empty if that is nothing."""
        try:
            before = read_lock(self._lock)
            needs = read_recipe(self._path).needs if self._path.exists() else ()
        except UsageError:
            return "contents that cannot be read"
        if before is None:
            known = {pinned.need.ref for pinned in lock.needs}
            refs = [need.ref for need in needs if need.ref not in known]
            return f"{say_count(len(refs), 'need')} more" if refs else ""
        kept = {file.digest for pinned in lock.needs for file in pinned.snapshot.files}
        files = {file.digest: file.size for pinned in before.needs for file in pinned.snapshot.files}
        lost = [size for digest, size in files.items() if digest not in kept]
        return f"{say_count(len(lost), 'file')} more, {say_size(sum(lost))}" if lost else ""

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(f"{self._path.name} cannot be written: {error.strerror}", hint="choose another: -o FILE")


def verified_as(inferred: Inferred, words: str) -> Inferred:
    """Return the recipe with these words in `verified`."""
    return replace(inferred, recipe=replace(inferred.recipe, verified=words))
