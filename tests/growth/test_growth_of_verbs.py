"""File operations and function calls of each verb grow no faster than its work."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from preheat.cli.main import main
from preheat.core.ref import Ref
from preheat.library.library import Library
from preheat.recipes.lock_file import Lock, Pinned
from preheat.recipes.recipe import Need
from preheat.verbs.lock import keep_lock
from tests.growth.counting import grows_as_the_work, named_calls_of, operations
from tests.library.shelves import shelve

pytestmark = pytest.mark.slow  # each takes seconds, since all calls are counted
REPOSITORIES, FILES, TIMES = 10, 50, 4
# Ready after all files are read ahead, and then seen: each start costs the same.
_APP = 'command = ["sh", "-c", "sleep 0.5; echo ready; sleep 0.2"]\nready = "line:ready"'


class Place:
    """A library, a recipe, and a verb's other inputs, for `size` files or repositories."""

    def __init__(self, root: Path, size: int) -> None:
        self.root, self.size = root, size
        self.library, self.app = root / "library", root / "app"
        self.app.mkdir(parents=True)

    def many_repositories(self) -> list[str]:
        """Fill the library as many commands would, each with one repository; return their names."""
        names = [f"hf:acme/m{number}" for number in range(self.size)]
        for number, name in enumerate(names):
            shelve(Library(self.library), name, {"part.bin": b"%d" % number})
        return names

    def many_files(self) -> str:
        """Fill the library with one repository."""
        shelve(Library(self.library), "hf:acme/many", self._files())
        return "hf:acme/many"

    def folder(self) -> Path:
        """Make a plain folder of many files."""
        for path, data in self._files().items():
            at = self.root / "folder" / path
            at.parent.mkdir(parents=True, exist_ok=True)
            at.write_bytes(data)
        return self.root / "folder"

    def recipe(self, *needs: str, more: str = "") -> str:
        """Write a recipe."""
        said = "".join(f'[[needs]]\nref = "{need}"\n{more}' for need in needs)
        (self.app / "preheat.toml").write_text(f'[app]\nname = "app"\n{_APP}\n{said}')
        return str(self.app / "preheat.toml")

    def locked_recipe(self) -> str:
        """Fill the library with one repository, and write a recipe that needs it, with its lock."""
        name = self.many_files()
        recipe, need = self.recipe(name), Need(Ref.parse(name))
        snapshot = Library(self.library).find(need.ref)
        assert snapshot is not None
        keep_lock(self.app / "preheat.lock", Lock((Pinned(need, snapshot),)))
        return recipe

    def _files(self) -> dict[str, bytes]:
        return {f"dir-{number % 5}/part-{number}.txt": b"%d" % number for number in range(self.size)}

    def __call__(self, *words: str | Path) -> None:
        """Run the command in this process."""
        with suppress(SystemExit):
            main([str(words[0]), "--library", str(self.library), *map(str, words[1:])])


Verb = Callable[[Place], Callable[[], object]]
VERBS: dict[str, Verb] = {}


def verb(make: Verb) -> Verb:
    """Register a function that prepares a verb's work and returns it."""
    VERBS[make.__name__.strip("_")] = make
    return make


@verb
def run_many_needs(place: Place) -> Callable[[], object]:
    recipe = place.recipe(*place.many_repositories())
    return lambda: place("run", recipe)


@verb
def run_many_files(place: Place) -> Callable[[], object]:
    recipe = place.recipe(place.many_files())
    return lambda: place("run", recipe)


@verb
def run_locked_many_files(place: Place) -> Callable[[], object]:
    recipe = place.locked_recipe()
    place("run", "--locked", recipe)
    return lambda: place("run", "--locked", recipe)


@verb
def pull_locked_many_files(place: Place) -> Callable[[], object]:
    recipe = place.locked_recipe()
    return lambda: place("pull", "--locked", recipe)


@verb
def run_anything(place: Place) -> Callable[[], object]:
    place.many_repositories()
    return lambda: place("run", place.recipe())


@verb
def view_many_repositories(place: Place) -> Callable[[], object]:
    names = place.many_repositories()
    return lambda: place("view", "--link", "symlink", "hf-cache", place.root / "view", *names)


@verb
def view_one_repository_after_the_other(place: Place) -> Callable[[], object]:
    names = place.many_repositories()

    def work() -> None:
        for name in names:
            place("view", "--link", "symlink", "hf-cache", place.root / "view", name)

    return work


@verb
def view_many_files(place: Place) -> Callable[[], object]:
    name = place.many_files()
    return lambda: place("view", "--link", "symlink", "hf-cache", place.root / "view", name)


@verb
def prune_many_views(place: Place) -> Callable[[], object]:
    for name in place.many_repositories():
        place("view", "--link", "symlink", "hf-cache", place.root / "view", name)
    return lambda: place("prune", "--yes", "--younger", "0s")


@verb
def prune_old_versions(place: Place) -> Callable[[], object]:
    for number in range(place.size):
        commit = f"{number:040x}"
        shelve(Library(place.library), f"hf:acme/m{number}@{commit}", {"part.bin": b"%d" % number}, commit)
    return lambda: place("prune", "--yes", "--old", "--younger", "0s")


@verb
def ls_many_repositories(place: Place) -> Callable[[], object]:
    place.many_repositories()
    return lambda: place("ls")


@verb
def show_many_files(place: Place) -> Callable[[], object]:
    name = place.many_files()
    return lambda: place("show", name)


@verb
def rm_many_repositories(place: Place) -> Callable[[], object]:
    names = place.many_repositories()
    return lambda: place("rm", "--yes", *names)


@verb
def rm_many_files(place: Place) -> Callable[[], object]:
    name = place.many_files()
    return lambda: place("rm", "--yes", name)


@verb
def verify_many_files(place: Place) -> Callable[[], object]:
    place.many_files()
    return lambda: place("verify")


@verb
def verify_many_corrupt_files(place: Place) -> Callable[[], object]:
    place.many_repositories()
    for blob in (place.library / "blobs").rglob("*"):
        if blob.is_file():
            blob.chmod(0o644)
            blob.write_bytes(b"!")
    return lambda: place("verify")


@verb
def adopt_many_files(place: Place) -> Callable[[], object]:
    folder = place.folder()
    return lambda: place("adopt", folder, "--as", "acme/many")


@verb
def lock_many_files(place: Place) -> Callable[[], object]:
    recipe = place.recipe(f"file:{place.folder()}")
    return lambda: place("lock", recipe)


@verb
def pull_many_files(place: Place) -> Callable[[], object]:
    folder = place.folder()
    return lambda: place("pull", f"file:{folder}")


@verb
def pull_no_new_files(place: Place) -> Callable[[], object]:
    folder = place.folder()
    place("pull", f"file:{folder}")
    return lambda: place("pull", f"file:{folder}")


@verb
def pull_by_names_of_files(place: Place) -> Callable[[], object]:
    folder = place.folder()
    names = [str(path.relative_to(folder)) for path in folder.rglob("*.txt")]
    recipe = place.recipe(f"file:{folder}", more=f"files = {names}\n")
    return lambda: place("pull", recipe)


@verb
def build_many_files(place: Place) -> Callable[[], object]:
    recipe = place.recipe(place.many_files())
    return lambda: place("build", recipe, "--base", "scratch", "--output", f"oci:{place.root}/image:many")


def _cost(make: Verb, place: Place, capsys: pytest.CaptureFixture[str]) -> Counter[str]:
    """Return the number of function calls and of each kind of file operation of a verb."""
    work = make(place)
    capsys.readouterr()
    with operations() as count:
        calls = sum(named_calls_of(work).values())
    said = capsys.readouterr()
    assert "hint:" not in said.err or "corrupt" in said.err, said.err
    return count + Counter(calls=calls)


@pytest.fixture(scope="module", autouse=True)
def _imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Run each verb once, so that imports are not counted."""
    for name, make in VERBS.items():
        make(Place(tmp_path_factory.mktemp("first") / name, 2))()


@pytest.mark.parametrize("make", VERBS.values(), ids=VERBS.keys())
def test_the_cost_of_a_verb_grows_no_faster_than_its_work(
    make: Verb, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = FILES if make.__name__.endswith("files") else REPOSITORIES
    small = _cost(make, Place(tmp_path / "small", size), capsys)
    large = _cost(make, Place(tmp_path / "large", size * TIMES), capsys)
    assert small["calls"] > 100
    grown = {
        what: (small[what], large[what])
        for what in large
        if not grows_as_the_work(max(small[what], 4), large[what], TIMES)
    }
    assert not grown, "cost at two sizes"


def _ls(place: Place) -> Callable[[], object]:
    place.many_repositories()
    return lambda: place("ls")


def _pull(place: Place) -> Callable[[], object]:
    commits = {name: Library(place.library).find(Ref.parse(name)) for name in place.many_repositories()}
    return lambda: place("pull", *(f"{name}@{one.commit}" for name, one in commits.items() if one is not None))


def _run(place: Place) -> Callable[[], object]:
    recipe = place.recipe(*place.many_repositories())
    return lambda: place("run", recipe)


# A list of branches is a folder: `ls` lists the folder and that of its branches, and reads a file of each. A run opens
# the branch and its record, looks at the blob, asks four times about the view, and reads the file into the page cache.
@pytest.mark.parametrize(("make", "most"), [(_ls, 4), (_pull, 2), (_run, 8)])
def test_a_second_pull_over_a_share_costs_few_round_trips(make: Verb, most: int, tmp_path: Path) -> None:
    def cost(size: int) -> int:
        place = Place(tmp_path / str(size), size)
        work = make(place)
        work()
        with operations(place.library, shared=True) as count:
            work()
        # The folders of blobs, of which there are at most 512, are listed once.
        return sum(count.values()) - sum(1 for _ in (place.library / "blobs").glob("*/*")) * (make is _ls)

    assert cost(14) - cost(4) <= 10 * most
