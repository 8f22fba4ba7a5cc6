"""Desk: a home folder with apps that have the same models."""

import json
import os
import struct
import time
from pathlib import Path

MEBI = 1 << 20
OLD_NS = 2 * 10**8  # twice the age from which hashes of files are remembered
# For root, whom modes do not keep from writing: the command as another user, whose files those of root are.
AS_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000") if os.geteuid() == 0 else ()


def safetensors(*names: str, size: int = 2 * MEBI, seed: int = 0, metadata: dict[str, str] | None = None) -> bytes:
    """Return a safetensors file with tensors of these names: 8 bytes of header size, JSON, then the tensors' bytes."""
    each = size // len(names) // 2 * 2
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    header |= {
        name: {"dtype": "F16", "shape": [each // 2], "data_offsets": [each * n, each * (n + 1)]}
        for n, name in enumerate(names)
    }
    body = json.dumps(header).encode()
    noise = bytes([seed]) + bytes(range(256)) * (each * len(names) // 256 + 1)
    return struct.pack("<Q", len(body)) + body + noise[: each * len(names)]


def write(path: Path, body: bytes, *, age_s: float = 3600.0, mode: int = 0o644) -> Path:
    """Write a file that was last changed an hour ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    path.chmod(mode)
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - int(age_s * 10**9)))
    return path


def wait_until_old(folder: Path) -> Path:
    """Wait until a fold remembers the hashes of all files in a folder: those of the last 0.1 s it hashes again."""
    newest_ns = max(path.lstat().st_ctime_ns for path in folder.rglob("*") if path.is_file())
    while time.time_ns() - newest_ns <= OLD_NS:
        time.sleep(0.05)
    return folder


def comfyui(home: Path) -> Path:
    """Install ComfyUI; return its folder of models."""
    for name in ("folder_paths.py", "comfy/sd.py", "models/checkpoints/put_checkpoints_here"):
        write(home / "ComfyUI" / name, b"")
    return home / "ComfyUI/models"


def a1111(home: Path) -> Path:
    """Install AUTOMATIC1111; return its folder of models."""
    for name in (
        "webui.py",
        "modules/sd_models.py",
        "models/Stable-diffusion/Put Stable Diffusion checkpoints here.txt",
    ):
        write(home / "stable-diffusion-webui" / name, b"")
    return home / "stable-diffusion-webui/models"


def fooocus(home: Path) -> Path:
    """Install Fooocus; return its folder of models."""
    write(home / "Fooocus/fooocus_version.py", b"")
    return home / "Fooocus/models"


def ollama(home: Path) -> Path:
    """Make Ollama's store; return its folder of blobs."""
    (home / ".ollama/models/manifests").mkdir(parents=True)
    return home / ".ollama/models/blobs"


def text_generation(home: Path) -> Path:
    """Install text-generation-webui; return its folder of models."""
    for name in ("server.py", "download-model.py"):
        write(home / "text-generation-webui" / name, b"")
    return home / "text-generation-webui/user_data/models"
