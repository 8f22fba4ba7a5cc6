"""Site: what mkdocs needs beside docs/: the README and its neighbours, a list of the decisions, and all their links.

mkdocs calls these functions: https://www.mkdocs.org/user-guide/configuration/#hooks
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
# Where files of the repository, other than those in docs/, lie on the site.
PAGES = {
    "README.md": "index.md",
    "README.zh-CN.md": "zh-CN/index.md",
    "docs/README.md": "documents.md",
    "docs/zh-CN/README.md": "zh-CN/documents.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "LICENSE": "license.md",
    "examples/speech_webui/README.md": "speech-webui.md",
}
DECISIONS = "adr/index.md"
LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that do not lie in docs/."""
    for path, page in PAGES.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        if path == "LICENSE":
            text = f"# License\n\n```\n{text}\n```\n"
        elif path == "CHANGELOG.md":
            entries = sorted((ROOT / "changelog").rglob("*.md"))
            told = "\n".join(entry.read_text(encoding="utf-8") for entry in entries)
            text += "\n" + re.sub("^#", "##", told, flags=re.MULTILINE).replace("](../../", "](")
        files.append(File.generated(config, page, content=text))
    decisions = sorted(path for path in (ROOT / "docs/adr").glob("*.md"))
    lines = [f"- [{path.read_text(encoding='utf-8').splitlines()[0].lstrip('# ')}]({path.name})" for path in decisions]
    files.append(File.generated(config, DECISIONS, content="\n".join(["# Decisions", "", *lines, ""])))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links to where their files lie on the site; of a file that is in the repository alone, the words stay."""
    own = page.file.src_uri
    source = next((path for path, there in PAGES.items() if there == own), f"docs/{own}")

    def led(match: re.Match[str]) -> str:
        words, link, anchor = match[1], match[2], match[3] or ""
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
        there = PAGES.get(target) or (DECISIONS if target == "docs/adr" else target.removeprefix("docs/"))
        if there == target and (ROOT / target).exists():
            return words
        return f"[{words}]({posixpath.relpath(there, posixpath.dirname(own) or '.')}{anchor})"

    return LINK.sub(led, markdown)
