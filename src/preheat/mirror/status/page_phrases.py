"""Page phrases: the status page's texts, in each language."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Phrases:
    """The texts in one language; `{}` is a placeholder for a number."""

    code: str
    title: str
    models: str
    none: str
    none_hint: str
    model: str
    version: str
    size: str
    pinned: str
    missing: str
    fetching: str
    idle: str
    readers: str
    saved: str
    saved_of: str
    here: str
    here_of: str
    answers: str
    files_here: str
    up: str
    use: str
    use_hint: str
    no_answer: str
    evicted: str
    evicted_hint: str


ENGLISH = Phrases(
    code="en",
    title="preheat mirror",
    models="In the library",
    none="No models yet.",
    none_hint="Pull a model on this machine: preheat pull OWNER/NAME",
    model="model",
    version="version",
    size="size",
    pinned="pinned",
    missing="{} missing",
    fetching="Downloads",
    idle="No downloads in progress.",
    readers="clients: {}",
    saved="upstream traffic saved",
    saved_of="{} sent, {} from upstream",
    here="library size",
    here_of="{} of {} allowed",
    answers="file responses",
    files_here="{} of them cached",
    up="up",
    use="Use it from another machine",
    use_hint="Set one line for each client before you start the app:",
    no_answer="The mirror does not answer.",
    evicted="Recently evicted",
    evicted_hint="Since the start: {} versions, {}. Least recently used downloads are evicted first.",
)
CHINESE = Phrases(
    code="zh-CN",
    title="preheat 镜像站",
    models="本地模型库",
    none="这里还没有模型。",
    none_hint="在这台机器上拉取：preheat pull OWNER/NAME",
    model="模型",
    version="版本",
    size="大小",
    pinned="已固定",
    missing="还缺 {}",
    fetching="正在拉取",
    idle="当前没有拉取任务。",
    readers="{} 个客户端在读",
    saved="省下的上游流量",
    saved_of="已发出 {}，其中从上游取得 {}",
    here="模型库占用",
    here_of="{}，上限 {}",
    answers="文件请求",
    files_here="其中 {} 次直接命中",
    up="已运行",
    use="在其他机器上使用",
    use_hint="启动应用之前，每个客户端只需设置一行：",
    no_answer="镜像站没有响应。",
    evicted="最近清理的版本",
    evicted_hint="启动以来共清理 {} 个版本，释放 {}：都是为客户端拉取、最久未使用的版本。",
)


def preferred(accept_language: str) -> Phrases:
    """Return the language that Accept-Language prefers (RFC 9110 section 12.5.4), English by default."""
    best, chosen = 0.0, ENGLISH
    for wish in accept_language.split(",")[:20]:
        tag, _, rest = wish.strip().partition(";")
        weight = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", rest)
        quality = float(weight[1]) if weight else 0.0 if rest else 1.0
        language = {"zh": CHINESE, "en": ENGLISH}.get(tag.strip().lower().partition("-")[0])
        if language is not None and quality > best:
            best, chosen = quality, language
    return chosen
