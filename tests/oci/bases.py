"""Bases: small images in a layout to build on, written without preheat's code."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

Files = Mapping[str, bytes | str | None]


def layer(files: Files) -> bytes:
    """Make a layer's tar from paths: bytes give a file, a string a link, None a folder."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, what in files.items():
            member = tarfile.TarInfo(path)
            if isinstance(what, bytes):
                member.size, member.mode = len(what), 0o755
                tar.addfile(member, io.BytesIO(what))
            else:
                member.type = tarfile.DIRTYPE if what is None else tarfile.SYMTYPE
                member.linkname, member.mode = what or "", 0o755
                tar.addfile(member)
    return out.getvalue()


def layout(
    at: Path,
    layers: Sequence[bytes],
    config: Mapping[str, object] | None = None,
    *,
    tag: str = "base",
    architecture: str = "amd64",
    packed: bool = False,
) -> str:
    """Write an image with these layers; return its image name."""
    blobs = at / "blobs/sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def keep(body: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(body).hexdigest()
        (blobs / digest).write_bytes(body)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(body)}

    kind = "application/vnd.oci.image.layer.v1.tar"
    stored = [keep(gzip.compress(one, 1, mtime=0), f"{kind}+gzip") if packed else keep(one, kind) for one in layers]
    said = {
        "architecture": architecture,
        "os": "linux",
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in layers]},
        "history": [{"created_by": "by hand"} for _ in layers],
    }
    described = keep(json.dumps(said).encode(), "application/vnd.oci.image.config.v1+json")
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described,
        "layers": stored,
    }
    entry = keep(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    index = at / "index.json"
    others = json.loads(index.read_bytes())["manifests"] if index.exists() else []
    entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
    index.write_text(json.dumps({"schemaVersion": 2, "manifests": [*others, entry]}))
    (at / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return f"oci:{at}:{tag}"


def python_layer(folder: Path) -> bytes:
    """Make a layer with this machine's Python at usr/bin/python3, a shell, and their libraries."""
    import subprocess
    import sys
    import sysconfig

    python = Path(sys.executable).resolve()
    stdlib = Path(sysconfig.get_path("stdlib"))
    programs = [python, Path("/bin/sh"), *(stdlib / "lib-dynload").glob("*.so")]
    said = [subprocess.run(["ldd", str(one)], capture_output=True, text=True, check=False).stdout for one in programs]
    linked = {Path(word) for words in said for word in words.split() if word.startswith("/") and Path(word).is_file()}
    path = folder / "python.tar"
    with tarfile.open(path, "w") as tar:
        for file in sorted({python, Path("/bin/sh"), *linked}):
            tar.add(file.resolve(), str(file))
        tar.add(
            stdlib,
            str(stdlib),
            filter=lambda one: (
                None if "site-packages" in one.name or "/test" in one.name or "__pycache__" in one.name else one
            ),
        )
        version = f"python3.{sys.version_info.minor}"
        names = {version: str(python), "python3": version}
        for name, target in names.items():
            at = f"usr/bin/{name}"
            if f"/{at}" != str(python):
                link = tarfile.TarInfo(at)
                link.type, link.linkname = tarfile.SYMTYPE, target
                tar.addfile(link)
        temporary = tarfile.TarInfo("tmp")
        temporary.type, temporary.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(temporary)
    body = path.read_bytes()
    path.unlink()
    return body
