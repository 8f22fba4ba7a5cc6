"""Hub: small files under the names of the repositories that the pages pull, at `main` and at any commit."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.mirror.api.folders import ServedSnapshot, Shelf
from preheat.mirror.api.hf_routes import answer
from preheat.mirror.http.server import Server
from tests.authority import authority
from tests.stories.desk import safetensors
from tests.stories.test_app_views import CHECKPOINT, gguf

_NOISE = bytes(range(256)) * 1200
# Of each repository, the files that the pages and the built-in recipes name.
FILES: dict[str, dict[str, bytes]] = {
    "openai/whisper-tiny.en": {"model.safetensors": _NOISE, "config.json": b"{}\n", "note.txt": b"hm\n"},
    "Systran/faster-whisper-large-v3": {"model.bin": _NOISE, "config.json": b"{}\n", "tokenizer.json": b"{}\n"},
    "stabilityai/stable-diffusion-xl-base-1.0": {"sd_xl_base_1.0.safetensors": safetensors(*CHECKPOINT)},
    "me/styles": {"ink.safetensors": safetensors("some.weight", size=20_000)},
    "Qwen/Qwen3-0.6B": {"model.safetensors": _NOISE, "config.json": b"{}\n", "merges.txt": b"a b\n"},
    "Qwen/Qwen3-0.6B-GGUF": {"Qwen3-0.6B-Q8_0.gguf": gguf("qwen3")},
}


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve the repositories over HTTPS; return the URL. Its address is in no page's `no_proxy`."""
    for name, files in FILES.items():
        for path, body in files.items():
            at = folder / name / path
            at.parent.mkdir(parents=True, exist_ok=True)
            at.write_bytes(body)
    find = partial(_find, Shelf({name: folder / name for name in FILES}))
    with Server(("127.0.0.2", 0), partial(answer, find=find), lambda event: None, tls=authority().context) as server:
        yield server.url


def _find(shelf: Shelf, ref: Ref) -> ServedSnapshot | None:
    found = shelf.find(ref.at(ref.branch))
    if found is None or not ref.pinned:
        return found
    return ServedSnapshot(Snapshot(ref, ref.revision, found.snapshot.files), found.locate, found.revisions)
