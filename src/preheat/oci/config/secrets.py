"""Secrets: detect files that must not go into an image, by name and by content; pure."""

import re
from collections.abc import Collection

# Files and folders that contain credentials.
_NAMES = frozenset(
    (
        ".env",
        ".netrc",
        "_netrc",
        ".git-credentials",
        ".npmrc",
        ".pypirc",
        ".dockercfg",
        ".dockerconfigjson",
        "stored_tokens",
        "id_rsa",
        "id_dsa",
        "id_ecdsa",
        "id_ed25519",
    )
)
_FOLDERS = frozenset((".git", ".ssh", ".aws", ".gnupg", ".docker", ".kube"))
_TOKEN_FILES = re.compile(r"(?:^|/)(?:\.?huggingface/token|\.modelscope/credentials/.*|\.hf_token)$|^token$")
# Token formats, from the issuers' documentation of leaked tokens.
_TOKENS = {
    "a Hugging Face token": rb"\bhf_[A-Za-z0-9]{34}\b",
    "a GitHub token": rb"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_[A-Za-z0-9_]{60,}",
    "a GitLab token": rb"\bglpat-[A-Za-z0-9_-]{20,}",
    "an AWS key": rb"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "a Google key": rb"\bAIza[A-Za-z0-9_-]{35}\b",
    "a Slack token": rb"\bxox[abprs]-[A-Za-z0-9-]{20,}",
    "a ModelScope token": rb"\bms-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
    "a private key": rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
}
_PATTERNS = {what: re.compile(pattern) for what, pattern in _TOKENS.items()}
# Real tokens have many distinct characters; examples in documentation have few.
_FEWEST_LETTERS = 12
# Weight files contain gigabytes of numbers and no text.
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".gguf", ".ort", ".npz", ".npy", ".msgpack", ".h5")


def secret_name(path: str) -> bool:
    """Return whether a file with this path usually contains secrets."""
    *folders, name = path.split("/")
    if name in _NAMES or (name.startswith(".env.") and not name.endswith((".example", ".sample", ".template"))):
        return True
    return bool(_FOLDERS & set(folders)) or _TOKEN_FILES.search(path) is not None


def is_weights(path: str) -> bool:
    """Return whether a path has a weights extension. Weights are not searched for secrets."""
    return path.lower().endswith(_WEIGHTS)


def secret_in(body: bytes, own: Collection[str] = ()) -> str:
    """Return a description of the first secret found in `body`, or "". `own` are the tokens that this process uses."""
    if any(token and token.encode() in body for token in own):
        return "a token from this environment"
    for what, pattern in _PATTERNS.items():
        for found in pattern.finditer(body):
            if what == "a private key" or len(set(found[0])) >= _FEWEST_LETTERS:
                return what
    return ""
