"""Layers of images as sources of files: what a registry's manifest says of their sizes is not relied upon."""

import hashlib
import tarfile
from pathlib import Path

import pytest

from preheat.core.digest import sha256
from preheat.core.errors import HubError
from preheat.disk.free_space import free_bytes
from preheat.oci.layers.tar_reader import MOST_BYTES
from preheat.oci.model.content import Small
from preheat.oci.model.descriptor import LAYER, Descriptor
from preheat.verbs.image_sources.layer_files import files_by_download


def test_a_layer_that_would_fill_the_disk_is_left_before_it_is_unpacked(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("model.safetensors")
    entry.size = free_bytes(tmp_path) + 1
    if entry.size > MOST_BYTES:
        pytest.skip("the disk has more room than a tar may take")
    body = entry.tobuf() + bytes(1 << 20)
    digest = sha256(hashlib.sha256(body).hexdigest())
    with pytest.raises(HubError, match="do not fit on the disk"):
        files_by_download(Descriptor(LAYER, digest, 1 << 50), Small("layer", body, digest), tmp_path)
