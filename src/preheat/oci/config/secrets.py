"""Secrets: files that never go into an image, by name and by content; pure."""

import re
from collections.abc import Collection

# Files that hold what lets somebody in, and folders of them.
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
# As those who give them out write them: their documents on leaked tokens.
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
# Between `hf_` and its end a real one has many letters; what a page shows as an example has few.
_FEWEST_LETTERS = 12
# What holds numbers and nothing else, and gigabytes of them.
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".gguf", ".ort", ".npz", ".npy", ".msgpack", ".h5")


def secret_name(path: str) -> bool:
    """Whether a file of that name is one that keeps secrets."""
    *folders, name = path.split("/")
    if name in _NAMES or (name.startswith(".env.") and not name.endswith((".example", ".sample", ".template"))):
        return True
    return bool(_FOLDERS & set(folders)) or _TOKEN_FILES.search(path) is not None


def is_weights(path: str) -> bool:
    """Whether a file's name says that it holds weights, in which no text is looked for."""
    return path.lower().endswith(_WEIGHTS)


def secret_in(body: bytes, own: Collection[str] = ()) -> str:
    """Say in words what secret `body` has in it, empty for none; `own` are the tokens that are used here."""
    if any(token and token.encode() in body for token in own):
        return "a token that is set here"
    for what, pattern in _PATTERNS.items():
        for found in pattern.finditer(body):
            if what == "a private key" or len(set(found[0])) >= _FEWEST_LETTERS:
                return what
    return ""
