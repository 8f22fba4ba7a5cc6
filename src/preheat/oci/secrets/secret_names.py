"""Secret names: the names of files and folders that usually contain credentials; pure."""

import re

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
_KEY_STORES = (".p12", ".pfx", ".jks", ".kdbx")
_TOKEN_FILES = re.compile(r"(?:^|/)(?:\.?huggingface/token|\.modelscope/credentials/.*|\.hf_token)$|^token$")


def secret_name(path: str) -> bool:
    """Return whether a file with this path usually contains secrets."""
    *folders, name = path.split("/")
    if name in _NAMES or name.lower().endswith(_KEY_STORES):
        return True
    if name.startswith(".env.") and not name.endswith((".example", ".sample", ".template")):
        return True
    return not _FOLDERS.isdisjoint(folders) or _TOKEN_FILES.search(path) is not None
