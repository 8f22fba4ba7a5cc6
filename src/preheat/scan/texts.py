"""Texts: detect code, and configuration that makes a loader run code; pure.

Sources: transformers reads `auto_map` under trust_remote_code; modelscope reads `plugins` and `allow_remote` in
configuration.json; PyYAML's unsafe loaders follow `!!python` tags; chat templates are Jinja, whose sandbox has been
escaped through these attributes before.
"""

import re
from pathlib import PurePosixPath

LONGEST = 32 << 20

_CODE = {
    ".py": "Python code",
    ".pyc": "Python bytecode",
    ".pyd": "a compiled library",
    ".so": "a compiled library",
    ".dll": "a compiled library",
    ".dylib": "a compiled library",
    ".exe": "a program",
    ".sh": "a shell script",
    ".bat": "a shell script",
    ".ps1": "a shell script",
}
_JSON = (
    (rb'"auto_map"\s*:', "auto_map, which names code to load"),
    (rb'"(?:plugins|allow_remote)"\s*:\s*(?:\[\s*"|true)', "plugins, which name code to load"),
)
TEMPLATE = (
    rb"__(?:class|mro|bases?|globals|subclasses|builtins|import|init|getattribute)__",
    "a template that accesses Python's internals",
)
# Keras stores a Lambda layer's code like this, in HDF5 and in JSON.
LAMBDA = (rb'"?__lambda__|"class_name"\s*:\s*"Lambda"', "a Keras Lambda layer, which contains code")
# Graphs whose operations call Python or access files: TensorFlow's by name; ONNX's external data, whose location must
# be a file next to the model (onnx.proto3, TensorProto.external_data).
GRAPHS = {
    ".pb": (rb"PyFunc|\bReadFile\b|\bWriteFile\b", "operations that call Python or access files"),
    ".onnx": (rb"(?:^|[^\w./])(?:\.\./)+\w|location\x12[\x01-\x7f]/", "paths outside its folder"),
}
_YAML = (rb"!!?python/", "YAML tags that create Python objects")
_LOOKS: dict[str, tuple[tuple[bytes, str], ...]] = {
    ".json": (*_JSON, LAMBDA, TEMPLATE),
    ".jinja": (TEMPLATE,),
    ".jinja2": (TEMPLATE,),
    ".j2": (TEMPLATE,),
    ".yaml": (_YAML, TEMPLATE),
    ".yml": (_YAML, TEMPLATE),
}


def code_by_name(path: str) -> str:
    """Return the kind of code in a file of this name; "" if it is none."""
    return _CODE.get(PurePosixPath(path).suffix.lower(), "")


def is_configuration(path: str, size: int) -> bool:
    """Return whether `configured_code` should read a file of this name and size in bytes."""
    return size <= LONGEST and PurePosixPath(path).suffix.lower() in _LOOKS


def configured_code(path: str, body: bytes) -> tuple[str, ...]:
    """Return descriptions of the settings in a configuration file that make a loader run code."""
    looks = _LOOKS.get(PurePosixPath(path).suffix.lower(), ())
    return tuple(words for pattern, words in looks if re.search(pattern, body))
