"""Modules of a base without bytecode are found, and read as they are after all layers."""

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

from preheat.core.digest import sha256
from preheat.oci.config.base_modules import LONGEST_MODULE, bytecode_path, read_modules, uncompiled
from preheat.oci.model.content import Small
from preheat.oci.model.descriptor import LAYER, Descriptor
from preheat.oci.model.image import Image
from tests.oci.bases import Files, layer
from tests.oci.config.test_base_image import listing

TAG = "cpython-312"


def dated(members: list[tuple[str, bytes | str, float]], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Make a layer of files with times; a text is the other name of a hard link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for path, what, modified in members:
            member = tarfile.TarInfo(path)
            member.mtime = modified  # pax has fractions
            if isinstance(what, str):
                member.type, member.linkname = tarfile.LNKTYPE, what
                tar.addfile(member)
            else:
                member.size = len(what)
                tar.addfile(member, io.BytesIO(what))
    return out.getvalue()


def found(folder: Path, paths: list[str], *layers: bytes) -> dict[str, tuple[bytes, int]]:
    """Return the sources and times of modules in an image with these layers."""
    stored = {f"{number:064x}": gzip.compress(body) for number, body in enumerate(layers)}
    listed = tuple(Descriptor(f"{LAYER}+gzip", sha256(name), len(body)) for name, body in stored.items())

    def content(one: Descriptor) -> Small:
        body = stored[one.digest.hex]
        return Small("layer", body, sha256(hashlib.sha256(body).hexdigest()))

    modules = read_modules(Image({}, listed), paths, content, folder)
    return {path: (one.at.read_bytes(), one.modified) for path, one in modules.items()}


def test_modules_without_bytecode_of_this_python_are_found() -> None:
    files: Files = {
        "a/none.py": b"", "a/made.py": b"", f"a/__pycache__/made.{TAG}.pyc": b"", "a/other.py": b"",
        "a/__pycache__/other.cpython-311.pyc": b"", "a/link.py": "none.py", "b/x.py": b"", "b/__pycache__": "/tmp",
    }  # fmt: skip
    modules = [*(f"a/{name}.py" for name in ("none", "made", "other", "link", "missing")), "b/x.py"]
    assert list(uncompiled(listing(files), modules, TAG)) == ["a/none.py", "a/other.py"]
    assert bytecode_path("app.py", TAG) == f"__pycache__/app.{TAG}.pyc"


def test_the_sources_of_the_highest_layers_are_read_with_their_times(tmp_path: Path) -> None:
    paths = ["a.py", "b.py", "gone.py", "long.py", "odd.py", "absent.py"]
    below = [("a.py", b"old", 5), ("b.py", b"b", 1700000000.75), ("gone.py", b"", 1), ("odd.py", b"", -1.5)]
    above = [("a.py", b"new", 7), (".wh.gone.py", b"", 0), ("long.py", bytes(LONGEST_MODULE + 1), 0)]
    assert found(tmp_path, paths, dated(below), dated(above)) == {  # type: ignore[arg-type]
        "a.py": (b"new", 7),
        "b.py": (b"b", 1700000000),
    }


def test_a_hard_link_has_the_source_of_its_other_name(tmp_path: Path) -> None:
    files = dated([("root/cache/x.py", b"x = 1", 9), ("app/x.py", "root/cache/x.py", 9)], tarfile.GNU_FORMAT)
    assert found(tmp_path, ["app/x.py"], files) == {"app/x.py": (b"x = 1", 9)}


def test_a_replaced_module_is_not_read_from_a_lower_layer(tmp_path: Path) -> None:
    assert found(tmp_path, ["x.py"], dated([("x.py", b"", 1)]), layer({"x.py": "elsewhere"})) == {}
