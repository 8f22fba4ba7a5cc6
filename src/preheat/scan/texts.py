"""Texts: detect code, and configuration that makes a loader run code; pure.

Sources: transformers reads `auto_map` under trust_remote_code; modelscope reads `plugins` and `allow_remote` in
configuration.json; PyYAML's unsafe loaders follow `!!python` tags; chat templates are Jinja, whose sandbox has been
escaped through these attributes before.
"""

import re

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
    (rb'"custom_pipelines"\s*:', "custom_pipelines, which name code to load"),
    (rb'"_class_name"\s*:\s*\[', "a pipeline class from the repository's own code"),
)
TEMPLATE = (
    rb"__(?:class|mro|bases?|globals|subclasses|builtins|import|init|getattribute)__",
    "a template that accesses Python's internals",
)
# Keras stores a Lambda layer's code like this, in HDF5 and in JSON.
LAMBDA = (rb'"?__lambda__|"class_name"\s*:\s*"Lambda"', "a Keras Lambda layer, which contains code")
# Keras imports the module that a layer names; its own are in `keras` and `builtins`.
_KERAS_MODULE = (
    rb'"module"\s*:\s*"(?!keras[."]|builtins")[\w.]+"\s*,\s*"class_name"',
    "a Keras layer that imports another module",
)
# sentence-transformers imports each of these classes.
_MODULES = (rb'"type"\s*:\s*"(?!sentence_transformers\.)\w+\.[\w.]+"', "modules of the repository's own code")
# Hydra calls the function in this setting; harmless models name classes of their own framework.
_TARGET = (
    rb"_target_[\"']?\s*:\s*[\"']?(?:os|posix|nt|sys|builtins|subprocess|shutil|importlib|runpy|ctypes|pickle|code|pty)\.",
    "a Hydra target that runs code",
)
# Graphs whose operations call Python or access files: TensorFlow's by name; ONNX's external data, whose location must
# be a file next to the model (onnx.proto3, TensorProto.external_data).
GRAPHS = {
    ".pb": (rb"PyFunc|\bReadFile\b|\bWriteFile\b", "operations that call Python or access files"),
    ".onnx": (rb"(?:^|[^\w./])(?:\.\./)+\w|location\x12[\x01-\x7f]/", "paths outside its folder"),
}
_ESCAPED = re.compile(rb"\\u00([2-7][0-9A-Fa-f])")
_YAML = (rb"!!?python/|tag:yaml\.org,2002:python/", "YAML tags that create Python objects")
_LOOKS: dict[str, tuple[tuple[bytes, str], ...]] = {
    ".json": (*_JSON, LAMBDA, _KERAS_MODULE, _TARGET, TEMPLATE),
    ".jinja": (TEMPLATE,),
    ".jinja2": (TEMPLATE,),
    ".j2": (TEMPLATE,),
    ".yaml": (_YAML, _TARGET, TEMPLATE),
    ".yml": (_YAML, _TARGET, TEMPLATE),
}


def suffix_of(path: str) -> str:
    """Return the extension of the last part of a path, in lower case; as PurePosixPath's, but ten times as fast."""
    name = path.rpartition("/")[2]
    at = name.rfind(".")
    return name[at:].lower() if 0 < at < len(name) - 1 else ""


def code_by_name(path: str) -> str:
    """Return the kind of code that a file of this name contains; "" if the name is not one of code."""
    return _CODE.get(suffix_of(path), "")


def is_configuration(path: str, size: int) -> bool:
    """Return whether `configured_code` should read a file of this name and size in bytes."""
    return size <= LONGEST and suffix_of(path) in _LOOKS


def configured_code(path: str, body: bytes) -> tuple[str, ...]:
    """Return descriptions of the settings in a configuration file that make a loader run code."""
    looks = _LOOKS.get(suffix_of(path), ())
    if path.rpartition("/")[2] == "modules.json":
        looks = (*looks, _MODULES)
    plain = _plain(body)
    if b"{{" not in plain and b"{%" not in plain:
        looks = tuple(look for look in looks if look is not TEMPLATE)
    return tuple(words for pattern, words in looks if re.search(pattern, plain))


def _plain(body: bytes) -> bytes:
    """Convert a text to UTF-8, and replace escapes of ASCII letters. JSON may have other encodings and such escapes."""
    if b"\0" in body[:4] or body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        body = body.decode(_utf(body[:4]), "replace").encode("utf-8", "replace")
    if b"\\u00" in body:
        body = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), body)
    return body


def _utf(start: bytes) -> str:
    """Return the encoding of a JSON text that is not UTF-8, detected from its first four bytes."""
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-32" if start in (b"\xff\xfe\0\0", b"\0\0\xfe\xff") else "utf-16"
    order = "be" if start[:1] == b"\0" else "le"
    return f"utf-{32 if start.count(0) == 3 else 16}-{order}"
