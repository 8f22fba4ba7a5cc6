"""Annotations: labels that record the source and license of an image's weights; pure."""

import re
from collections.abc import Sequence

# https://github.com/opencontainers/image-spec/blob/v1.1.0/annotations.md
_TITLE, _LICENSES = "org.opencontainers.image.title", "org.opencontainers.image.licenses"
_BASE_NAME, _BASE_DIGEST = "org.opencontainers.image.base.name", "org.opencontainers.image.base.digest"
# Model cards put the name in `license_name` if `license` is "other".
_KEYS = ("license", "license_name")
_SOURCES, _LOCK, _FORMAT = "preheat.sources", "preheat.lock", "preheat.layer-format"


def image_annotations(
    title: str, sources: Sequence[str], licenses: Sequence[str], lock_digest: str, layer_format: int
) -> dict[str, str]:
    """Return an image's annotations. `sources` are refs pinned to a commit; `lock_digest` is its lock's digest."""
    fields = {_TITLE: title, _SOURCES: " ".join(dict.fromkeys(sources)), _LOCK: lock_digest, _FORMAT: str(layer_format)}
    if licenses:
        fields[_LICENSES] = " AND ".join(dict.fromkeys(licenses))
    return {name: value for name, value in fields.items() if value}


def base_annotations(name: str, digest: str) -> dict[str, str]:
    """Return the annotations that record the base image. The digest is omitted if the base has no name."""
    fields = {_BASE_NAME: name, _BASE_DIGEST: digest if name else ""}
    return {key: value for key, value in fields.items() if value}


def license_of(readme: str) -> str:
    """Return the license from a model card's front matter, or "" if it has none (hf.co/docs/hub/model-cards)."""
    front = re.match(r"---\s*\n(.*?)\n---", readme, re.DOTALL)
    if not front:
        return ""
    matches = (re.search(rf"^{name}:\s*['\"]?([A-Za-z0-9.+-]+)['\"]?\s*$", front[1], re.MULTILINE) for name in _KEYS)
    return next((one[1] for one in matches if one and one[1].lower() != "other"), "")
