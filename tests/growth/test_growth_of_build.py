"""The cost of building an image is linear in its files; each file is opened twice."""

import hashlib
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from preheat.core.digest import sha256
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.library.library import Library
from preheat.oci.local.layout import LayoutTarget
from preheat.recipes.recipe import Need, Recipe
from preheat.verbs.building.build import carry_out, plan_image
from preheat.verbs.building.build_order import Base, BuildOrder
from preheat.verbs.building.image_plan import ImagePlan
from preheat.views.layouts.huggingface import HuggingFaceCache
from preheat.views.links import SYMLINK
from tests.growth.counting import calls_of, grows_as_the_work
from tests.library.shelves import keep

_counting: Counter[str] | None = None


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _counting is not None:
        _counting[event] += 1


sys.addaudithook(_hook)  # cannot be removed, and costs little


@contextmanager
def _events() -> Iterator[Counter[str]]:
    """Count the audit events of all threads: opens, links, removals, folders created and listed."""
    global _counting
    _counting = counted = Counter[str]()
    try:
        yield counted
    finally:
        _counting = None


def _build(root: Path, count: int) -> tuple[Counter[str], int]:
    library = Library(root / "library")
    ref = Ref.parse("hf:acme/many")
    files = []
    for number in range(count):
        data = f'{{"number": {number}}}'.encode()
        files.append(File(f"part-{number}.json", len(data), sha256(hashlib.sha256(data).hexdigest())))
        keep(library, files[-1], data)
    library.record(Snapshot(ref, "a" * 40, tuple(files)))
    recipe = Recipe("app", Path("/app"), needs=(Need(ref),))
    order = BuildOrder(recipe, Base())

    def work() -> None:
        def target(_mounts: object) -> LayoutTarget:
            return LayoutTarget(root / "layout", "x", lambda _size: None)

        def plan() -> ImagePlan:
            view = HuggingFaceCache((SYMLINK,))
            return plan_image(order, library, lambda _kind: view, target, lambda _event: None)

        carry_out(plan(), library, plan, target, lambda _event: None)

    with _events() as counted:
        calls = calls_of(work)
    return counted, calls


def test_building_cost_grows_linearly_with_small_files(tmp_path: Path) -> None:
    _build(tmp_path / "first", 3)  # imports and compiled patterns
    (few, few_calls), (many, many_calls) = _build(tmp_path / "few", 20), _build(tmp_path / "many", 200)
    assert grows_as_the_work(few_calls, many_calls, 10)
    new = {event: (many[event] - few[event]) / 180 for event in many}
    assert new["open"] <= 2.1, "one to search it for secrets, one to copy it"
    changes = ("os.symlink", "os.remove", "os.mkdir", "os.rename", "os.scandir")
    # The hook also counts a few events of threads left by other tests.
    beside = [event for event in changes if new.get(event, 0) > 0.1]
    assert not beside, "no file is placed on disk to lay it out"
