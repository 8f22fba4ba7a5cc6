"""Draw: the life of a byte, from a hub through the library to the apps, in both languages."""

from dataclasses import dataclass
from html import escape

from preheat.cli.parser import VERBS

_WIDTH, _HEIGHT = 900, 400
_INK, _GREY, _GREEN, _ORANGE = "#1e293b", "#64748b", "#0f766e", "#ea580c"
_CELL = 13


@dataclass(frozen=True)
class Words:
    """The texts of one picture. A box has a title and lines below it; `uses` has a verb of the command for each box."""

    title: str
    hub: tuple[str, ...]
    partial: tuple[str, ...]
    library: tuple[str, ...]
    wrong: str
    uses: tuple[tuple[str, tuple[str, ...]], ...]


WORDS = {
    "life.svg": Words(
        "The life of a byte",
        ("Hub", "Hugging Face,", "ModelScope, URLs,", "a mirror, an image"),
        ("Partial download", "many ranges at once;", "resumes, even after", "kill -9"),
        ("Library", "one copy of each file,", "named by its digest,", "never changed"),
        "wrong digest: deleted",
        (
            ("run", ("View", "links where the app looks,", "no second copy; offline")),
            ("mirror", ("Mirror", "the hubs' own API, for", "other machines")),
            ("build", ("Image", "layers with the weights,", "for containers and pods")),
            ("export", ("Bundle", "for machines without a hub;", "object stores: push")),
        ),
    ),
    "life.zh-CN.svg": Words(
        "一个字节的一生",
        ("hub", "Hugging Face、", "ModelScope、网址、", "镜像站、容器镜像"),
        ("下载中", "多段同时下载；", "断了能续，kill -9", "之后也行"),
        ("模型库", "每个文件只有一份，", "以摘要命名，", "从不改动"),
        "摘要不对：删掉",
        (
            ("run", ("视图", "在应用要找的位置建链接，", "不占第二份空间；离线启动")),
            ("mirror", ("镜像站", "用各家 hub 自己的 API", "供其他机器下载")),
            ("build", ("容器镜像", "权重做成镜像层，", "供容器和 Pod 使用")),
            ("export", ("离线包", "带给连不上 hub 的机器；", "对象存储用 push")),
        ),
    ),
}


def lives() -> dict[str, str]:
    """Return each picture by its file name."""
    return {name: _svg(words) for name, words in WORDS.items()}


def _svg(words: Words) -> str:
    verbs = {"pull", "push", *(verb for verb, _ in words.uses)}
    assert verbs <= VERBS, verbs - VERBS
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}"'
        f' height="{_HEIGHT}" role="img" font-family="system-ui, sans-serif" font-size="14" fill="{_INK}">',
        f"<title>{escape(words.title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="#fbfaf8"/>',
        f'<text x="16" y="32" font-size="18" font-weight="bold">{escape(words.title)}</text>',
        *_box(16, 132, 152, 142, words.hub, "12345678"),
        *_arrow(168, 216, 203, "pull"),
        *_box(216, 132, 186, 142, words.partial, "12.4.67."),
        *_arrow(402, 450, 203, "sha256"),
        *_box(450, 132, 180, 142, words.library, "12345678", _GREEN),
        f'<path d="M309 274 V318" stroke="{_ORANGE}" stroke-width="2" stroke-dasharray="4 3" fill="none"/>',
        f'<text x="309" y="338" text-anchor="middle" fill="{_ORANGE}">{escape(words.wrong)}</text>',
    ]
    for number, (verb, texts) in enumerate(words.uses):
        top = 54 + 84 * number
        lines += [
            f'<path d="M630 203 H650 V{top + 36} H672" stroke="{_GREEN}" stroke-width="2" fill="none"/>',
            f'<path d="M672 {top + 31} l8 5 l-8 5 z" fill="{_GREEN}"/>',
            *_use(680, top, verb, texts),
        ]
    return "\n".join([*lines, "</svg>", ""])


def _box(
    left: int, top: int, width: int, height: int, texts: tuple[str, ...], cells: str, edge: str = _GREY
) -> list[str]:
    """Draw a place, with the parts of a file in it: of a dot, the bytes are missing. One byte is orange all the way."""
    title, *below = texts
    lines = [
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="6" fill="#fff" stroke="{edge}"'
        ' stroke-width="2"/>',
        f'<text x="{left + 12}" y="{top + 26}" font-size="16" font-weight="bold">{escape(title)}</text>',
    ]
    lines += [
        f'<text x="{left + 12}" y="{top + 50 + 19 * number}">{escape(text)}</text>' for number, text in enumerate(below)
    ]
    for number, cell in enumerate(cells):
        fill = {".": "none", "4": _ORANGE}.get(cell, edge)
        x, y = left + 12 + (_CELL + 3) * number, top + height - 32
        lines.append(
            f'<rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" rx="2" fill="{fill}" stroke="'
            f'{_ORANGE if cell == "4" else edge}"/>'
        )
    return lines


def _arrow(start: int, stop: int, y: int, word: str) -> list[str]:
    return [
        f'<path d="M{start} {y} H{stop - 8}" stroke="{_GREEN}" stroke-width="2" fill="none"/>',
        f'<path d="M{stop - 8} {y - 5} l8 5 l-8 5 z" fill="{_GREEN}"/>',
        f'<text x="{(start + stop) // 2}" y="{y - 10}" text-anchor="middle" font-family="monospace" font-size="12"'
        f' fill="{_GREEN}">{word}</text>',
    ]


def _use(left: int, top: int, verb: str, texts: tuple[str, ...]) -> list[str]:
    title, *below = texts
    lines = [
        f'<rect x="{left}" y="{top}" width="204" height="72" rx="6" fill="#fff" stroke="{_GREY}" stroke-width="2"/>',
        f'<text x="{left + 12}" y="{top + 22}" font-weight="bold">{escape(title)}</text>',
        f'<text x="{left + 192}" y="{top + 22}" text-anchor="end" font-family="monospace" font-size="12"'
        f' fill="{_GREEN}">{verb}</text>',
    ]
    return lines + [
        f'<text x="{left + 12}" y="{top + 42 + 19 * number}" font-size="13">{escape(text)}</text>'
        for number, text in enumerate(below)
    ]
