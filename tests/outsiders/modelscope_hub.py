"""ModelScopeHub: a folder in ModelScope's API, as far as its clients need it to check their files.

Over TLS, since modelscope up to 1.37 knows no other. Paths and documents as in modelscope 1.27 (hub/api.py) and
modelscope_hub 0.5 (_legacy_api.py).
"""

import hashlib
import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.authority import authority, secured

BRANCH = "master"


class ModelScopeHub:
    """Serves `folder` as the model `name`; `revisions`: the commit that last changed a file, by default `commit`."""

    def __init__(self, folder: Path, name: str, commit: str) -> None:
        self.folder = folder
        self.name = name
        self.commit = commit
        self.revisions: Mapping[str, str] = {}
        self.sent: list[str] = []
        self.asked: list[str] = []
        self.certificate = authority().ca_file
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.asked.append(self.path)
                status, body, kind = hub.answer(self.path)
                span = self.headers.get("Range", "")
                self.send_response(206 if status == 200 and span else status)
                if status == 200 and span:
                    first, _, last = span.removeprefix("bytes=").partition("-")
                    start, stop = int(first), min(int(last or len(body)), len(body) - 1) + 1
                    self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(body)}")
                    body = body[start:stop]
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base's name
                pass

        self._server = ThreadingHTTPServer(("localhost", 0), Handler)
        secured(self._server)
        self.domain = f"localhost:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, target: str) -> tuple[int, bytes, str]:
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path = parts.path.removeprefix(f"/api/v1/models/{self.name}")
        if path == parts.path or query.get("Revision", BRANCH) not in (BRANCH, self.commit):
            return 404, self._document(404, None), "application/json"
        match path:
            case "" | "/":
                return 200, self._document(200, {"Name": self.name}), "application/json"
            case "/revisions":
                branches = [{"Revision": BRANCH, "CreatedAt": 1_700_000_000}]
                data = {"RevisionMap": {"Branches": branches, "Tags": []}}
                return 200, self._document(200, data), "application/json"
            case "/repo/files":
                return 200, self._document(200, {"Files": self._files()}), "application/json"
            case "/repo" if (file := self.folder / query.get("FilePath", "")).is_file():
                self.sent.append(query["FilePath"])
                return 200, file.read_bytes(), "application/octet-stream"
        return 404, self._document(404, None), "application/json"

    def _document(self, code: int, data: object) -> bytes:
        said = {"Code": code, "Data": data, "Message": "", "RequestId": "1", "Success": code == 200}
        return json.dumps(said).encode()

    def _files(self) -> list[dict[str, object]]:
        return [
            {
                "Name": path.name,
                "Path": (name := path.relative_to(self.folder).as_posix()),
                "Type": "blob",
                "Size": path.stat().st_size,
                "Sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "Revision": self.revisions.get(name, self.commit),
            }
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        ]
