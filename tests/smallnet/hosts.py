"""Hosts: who answers for which name: GitHub, Google Drive, a git host with LFS, the hubs; all others are folders."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from preheat.mirror.api.folders import Shelf
from preheat.mirror.api.hf_routes import answer as hub_answer
from preheat.mirror.http.messages import Answer, Request
from tests.smallnet.site import Site, file, missing, path_of, say, sent_to, static, streamed

_ASSETS = "release-assets.githubusercontent.com"
_HUBS = ("huggingface.co", "hf-mirror.com", "modelscope.cn", "www.modelscope.cn")
NOT_FOUND = 404
_ASKS_BEFORE = 5_000_000  # Google Drive asks for a confirmation before it sends more than its scanner reads
_WARNING = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<form id="download-form" action="https://drive.usercontent.google.com/download" method="get">
<input type="submit" id="uc-download-link"/><input type="hidden" name="id" value="{id}">
<input type="hidden" name="export" value="download"><input type="hidden" name="confirm" value="t">
<input type="hidden" name="uuid" value="8c1c"></form></body></html>"""


def hosts(root: Path) -> dict[str, Site]:
    """Return the sites by host name; `root` has a folder for each host, and `hub/OWNER/NAME` for the hubs."""
    sites = {one.name: static(one) for one in sorted(root.iterdir()) if "." in one.name} if root.is_dir() else {}
    sites |= {host: _hub(root, host) for host in _HUBS}
    return sites | {
        "github.com": _github(root / "github.com"),
        _ASSETS: _assets(root / "github.com"),
        "codeload.github.com": _codeload(root / "codeload.github.com"),
        "drive.google.com": _drive,
        "drive.usercontent.google.com": _drive_files(root / "drive.google.com"),
        "git.example.org": _git(root / "git.example.org"),
    }


def _hub(root: Path, host: str) -> Site:
    """The repositories below `hub/`, data sets below `hub/datasets/`; what the host's own folder has comes first."""

    def answer(request: Request) -> Answer:
        own = static(root / host)(request)
        if own.status != NOT_FOUND:
            return own
        # Looked up anew: the folders may be filled while the net is up.
        found = {str(one.relative_to(root / "hub")): one for one in (root / "hub").glob("*/*")}
        found |= {str(one.relative_to(root / "hub")): one for one in (root / "hub/datasets").glob("*/*")}
        if resolved := re.match(r"^/models/([^/]+/[^/]+/resolve/.*)$", request.target):
            request = replace(request, target=f"/{resolved[1]}")
        return hub_answer(request, Shelf(found).find)

    return answer


def _github(folder: Path) -> Site:
    """Releases redirect to a signed URL, archives to codeload, and raw files to their own host."""

    def answer(request: Request) -> Answer:
        path = path_of(request)
        if re.match(r"^/[^/]+/[^/]+/releases/(latest/)?download/", path):
            if not (folder / path[1:]).is_file():
                return missing(request)
            number = int(hashlib.sha256(path.encode()).hexdigest()[:8], 16)
            signed = f"sp=r&sv=2018-11-09&sr=b&se=2030-01-01T00%3A00%3A00Z&asset={quote(path, safe='')}&sig=abc%3D"
            return sent_to(request, f"https://{_ASSETS}/github-production-release-asset/1/{number}?{signed}")
        if archive := re.match(r"^/([^/]+/[^/]+)/(zipball|archive)/(.+?)(\.zip)?$", path):
            form = "legacy.zip" if archive[2] == "zipball" else "zip"
            ref = archive[3] if archive[3].startswith("refs/") else f"refs/heads/{archive[3]}"
            return sent_to(request, f"https://codeload.github.com/{archive[1]}/{form}/{ref}")
        if raw := re.match(r"^/([^/]+/[^/]+)/raw/(.+)$", path):
            return sent_to(request, f"https://raw.githubusercontent.com/{raw[1]}/{raw[2]}")
        return static(folder)(request)

    return answer


def _assets(folder: Path) -> Site:
    def answer(request: Request) -> Answer:
        (asset,) = parse_qs(urlsplit(request.target).query).get("asset", ["/none"])
        name = asset.rpartition("/")[2]
        return file(request, folder / asset[1:], Content_Disposition=f"attachment; filename={name}")

    return answer


def _codeload(folder: Path) -> Site:
    def answer(request: Request) -> Answer:
        owner, name, *_ = [*path_of(request).strip("/").split("/"), "", ""]
        return streamed(request, folder / owner / f"{name}.zip")

    return answer


def _drive(request: Request) -> Answer:
    asked = parse_qs(urlsplit(request.target).query)
    if path_of(request) == "/uc" and "id" in asked:
        url = f"https://drive.usercontent.google.com/download?id={asked['id'][0]}&export=download"
        return sent_to(request, url, 303)
    return missing(request)


def _drive_files(folder: Path) -> Site:
    def answer(request: Request) -> Answer:
        asked = parse_qs(urlsplit(request.target).query)
        (name,) = asked.get("id", ["?"])
        found = next((folder / name).glob("*"), None)
        if found is None:
            return missing(request)
        if found.stat().st_size > _ASKS_BEFORE and "confirm" not in asked:
            return say(request, _WARNING.replace("\n", "").format(id=name).encode(), "text/html; charset=utf-8")
        return file(request, found, Content_Disposition=f'attachment; filename="{found.name}"')

    return answer


def _git(folder: Path) -> Site:
    """A repository as plain files (git's dumb protocol), and its large files by LFS's basic transfer."""

    def answer(request: Request) -> Answer:
        if path_of(request).endswith("/info/lfs/objects/batch"):
            objects = [
                {
                    "oid": one["oid"],
                    "size": one["size"],
                    "actions": {"download": {"href": f"https://git.example.org/lfs/{one['oid']}"}},
                }
                for one in json.loads(request.body)["objects"]
            ]
            document = json.dumps({"transfer": "basic", "objects": objects}).encode()
            return say(request, document, "application/vnd.git-lfs+json")
        return static(folder)(request)

    return answer
