"""ModelPack: weights alone, as an OCI artifact (CNCF model-spec 0.0.7: docs/spec.md, config.md, annotations.md)."""

from collections.abc import Mapping, Sequence

from preheat.core.digest import sha256
from preheat.oci.layers.layer import Layer
from preheat.oci.model.descriptor import Descriptor
from preheat.oci.model.image import ImageDocument, write_json

ARTIFACT = "application/vnd.cncf.model.manifest.v1+json"
_CONFIG = "application/vnd.cncf.model.config.v1+json"
_WEIGHTS = "application/vnd.cncf.model.weight.v1.tar"
_WEIGHT_CONFIG = "application/vnd.cncf.model.weight.config.v1.tar"
_FILE_PATH = "org.cncf.model.filepath"
_WEIGHT_SUFFIXES = (
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".onnx",
    ".gguf",
    ".ort",
    ".npz",
    ".npy",
    ".msgpack",
    ".h5",
)


def model_config(name: str, annotations: Mapping[str, str], diff_ids: Sequence[str]) -> ImageDocument:
    """Return the artifact's config."""
    licenses = annotations.get("org.opencontainers.image.licenses")
    descriptor: dict[str, object] = {"name": name, "sourceURL": annotations.get("preheat.sources", "")}
    if licenses:
        descriptor["licenses"] = licenses.split(" AND ")
    fields = {
        "descriptor": descriptor,
        "config": {},
        "modelfs": {"type": "layers", "diffIds": list(diff_ids)},
    }
    return ImageDocument(_CONFIG, write_json(fields))


def model_layer(layer: Layer, digest: str) -> Descriptor:
    """Return a layer's descriptor. Its media type is for weights or other files; it has the path of a single file."""
    weights = any(entry.path.lower().endswith(_WEIGHT_SUFFIXES) for entry in layer.entries)
    path = layer.entries[0].path if len(layer.entries) == 1 else ""
    media_type = _WEIGHTS if weights else _WEIGHT_CONFIG
    fields = {_FILE_PATH: path} if path else {}
    return Descriptor(media_type, sha256(digest.removeprefix("sha256:")), layer.size, fields)
