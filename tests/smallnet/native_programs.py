"""Native programs: what downloads without Python, traced with --intercept: its URLs must be in the recipe."""

import base64
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.smallnet import content
from tests.smallnet.judge import Program
from tests.smallnet.light_programs import CURL_WGET, GIT_LFS

_INTERCEPT = ("--intercept",)
VOICE, VOCODER = "https://download.example.ai/models/voice.ckpt", "https://download.example.ai/models/vocoder.bin"
PACKAGE = "https://download.example.ai/wheels/voice-1.0-py3-none-any.whl"
_NODE = f"""const fs = require("fs"), https = require("https");
(async () => {{
  fs.mkdirSync("weights", {{ recursive: true }});
  if (!fs.existsSync("weights/voice.ckpt"))
    fs.writeFileSync("weights/voice.ckpt", Buffer.from(await (await fetch("{VOICE}")).arrayBuffer()));
  if (!fs.existsSync("weights/vocoder.bin"))
    await new Promise((done, failed) => https.get("{VOCODER}", (got) =>
      got.pipe(fs.createWriteStream("weights/vocoder.bin")).on("finish", done)).on("error", failed));
  console.log("WORKS", fs.readFileSync("weights/voice.ckpt").length, fs.readFileSync("weights/vocoder.bin").length);
}})();
"""
_GO = f"""package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {{
	if _, err := os.Stat("weights/voice.ckpt"); err != nil {{
		got, err := http.Get("{VOICE}")
		if err != nil {{
			panic(err)
		}}
		os.MkdirAll("weights", 0o755)
		file, _ := os.Create("weights/voice.ckpt")
		io.Copy(file, got.Body)
		file.Close()
	}}
	read, err := os.ReadFile("weights/voice.ckpt")
	if err != nil {{
		panic(err)
	}}
	fmt.Println("WORKS", len(read))
}}
"""
# uv, as the Rust program with a TLS client of its own (reqwest and rustls).
_UV = f"""#!/bin/bash
cd "$(dirname "$0")"
[ -f packages/voice/weights.bin ] || {{uv}} pip install -q --no-deps --target packages "voice @ {PACKAGE}" || exit 3
exec python3 -c "print('WORKS', len(open('packages/voice/weights.bin', 'rb').read()))"
"""

CURLS = Program("curl, by URL", CURL_WGET.files, CURL_WGET.command, CURL_WGET.serve, options=_INTERCEPT)
LFS = Program("git-lfs, by URL", GIT_LFS.files, GIT_LFS.command, GIT_LFS.serve, options=_INTERCEPT)
NODE = Program("node, by URL", {"app.js": _NODE}, ("node", "app.js"), content.weights, options=_INTERCEPT)


def go(folder: Path) -> Program:
    """Return a Go program, which is built in `folder` before it is judged; with Go's own packages alone."""

    def serve(root: Path) -> None:
        content.weights(root)
        if not (folder / "fetch").exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "main.go").write_text(_GO)
            told = {"PATH": os.environ["PATH"], "HOME": str(folder), "GO111MODULE": "off", "CGO_ENABLED": "0"}
            subprocess.run(("go", "build", "-o", "fetch", "main.go"), cwd=folder, env=told, check=True)

    return Program("Go, by URL", {}, (str(folder / "fetch"),), serve, options=_INTERCEPT)


def uv(folder: Path) -> Program:
    """Return a program that downloads by uv, which is copied to `folder`: others cannot enter the tests' own."""

    def serve(root: Path) -> None:
        info = "voice-1.0.dist-info"
        files: dict[str, bytes | str] = {
            "voice/__init__.py": "",
            "voice/weights.bin": content.chance("wheel", 300_000),
            f"{info}/METADATA": "Metadata-Version: 2.1\nName: voice\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: smallnet\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(f"{name},sha256={_urlsafe(body)},{len(body)}\n" for name, body in files.items())
        wheel = content.zipped({**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"})
        content.put(root / "download.example.ai/wheels" / PACKAGE.rpartition("/")[2], wheel)
        folder.mkdir(parents=True, exist_ok=True)
        from uv import find_uv_bin

        shutil.copy(find_uv_bin(), folder / "uv")

    files = {"start.sh": _UV.replace("{uv}", str(folder / "uv"))}
    return Program("uv, by URL", files, ("bash", "start.sh"), serve, options=_INTERCEPT)


def _urlsafe(body: bytes | str) -> str:
    digest = hashlib.sha256(body.encode() if isinstance(body, str) else body).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def native(folder: Path) -> tuple[Program, ...]:
    """Return the native programs that can be judged here; what is built for them lies in `folder`."""
    some = {"curl": CURLS, "git-lfs": LFS, "node": NODE, "go": go(folder / "go"), "": uv(folder / "uv")}
    return tuple(program for tool, program in some.items() if not tool or shutil.which(tool))
