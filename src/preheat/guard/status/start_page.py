"""Start page: render the page that users see while an app starts, and its metrics, as pure functions."""

from __future__ import annotations

from typing import Iterable, Tuple

from preheat.guard.status.start_progress import Progress

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{name} – {phase}</title>
<meta name="viewport" content="width=device-width">
<noscript><meta http-equiv="refresh" content="2"></noscript>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 30em; margin: 18vh auto 0; padding: 0 1em; color: #222 }}
h1 {{ font-size: 1.3em; font-weight: 600 }} p {{ margin: .4em 0 }} small {{ color: #777 }}
.bar {{ height: 6px; border-radius: 3px; background: #e4e4e4; overflow: hidden }}
.bar div {{ height: 100%; background: #e8590c; width: {width}%; transition: width .5s }}
@media (prefers-color-scheme: dark) {{ body {{ background: #161616; color: #ddd }} .bar {{ background: #333 }} }}
</style></head><body>
<main><h1>{name}</h1>
<div class="bar" role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{width}"><div></div></div>
<p>{phase}{percent}{eta}</p><p><small>{detail}</small></p>{link}</main>
<script>{script}</script>
</body></html>
"""

# On the app's public port: a response without the X-Preheat header comes from the app.
_FRONTED = """
setInterval(async () => { try {
  const answer = await fetch(location.href, { cache: "no-store" });
  if (answer.headers.get("X-Preheat") !== "waiting") return location.reload();
  const next = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.querySelector("main").replaceWith(next.querySelector("main"));
  document.head.querySelector("style").replaceWith(next.head.querySelector("style"));
} catch (error) { /* asked again in a second */ } }, 1000);"""

# On the status address: go to the app when it is ready, unless the user came back from it.
_STATUS = """
setInterval(async () => { try {
  const ready = await fetch("/readyz", { cache: "no-store" });
  const app = document.querySelector("a");
  if (ready.ok && app && !sessionStorage.getItem("seen")) {
    sessionStorage.setItem("seen", "1");
    return location.assign(app.href);
  }
  const next = new DOMParser().parseFromString(await (await fetch("/", { cache: "no-store" })).text(), "text/html");
  document.querySelector("main").replaceWith(next.querySelector("main"));
  document.head.querySelector("style").replaceWith(next.head.querySelector("style"));
} catch (error) { /* asked again in a second */ } }, 1000);"""


def page(name: str, progress: Progress, detail: str, app_url: str, *, fronted: bool) -> str:
    """Return the page as HTML; `fronted` if it is served on the app's public port."""
    percent = "" if progress.percent is None or progress.phase == "ready" else f", {progress.percent} %"
    eta = f", about {progress.eta_s:.0f} s more" if progress.eta_s else ""
    link = f'<p><a href="{_safe(app_url)}">{_safe(app_url)}</a></p>' if app_url else ""
    return _PAGE.format(
        name=_safe(name),
        phase=_safe(progress.phase),
        width=progress.percent or 0,
        percent=percent,
        eta=eta,
        detail=_safe(detail),
        link=link,
        script=_FRONTED if fronted else _STATUS,
    )


def metrics(facts: Iterable[Tuple[str, str, str, float]]) -> str:
    """Return metrics in Prometheus' text format, from tuples of name, type, help text and value."""
    lines = []
    for name, kind, words, value in facts:
        lines += [f"# HELP {name} {words}.", f"# TYPE {name} {kind}", f"{name} {value:.10g}"]
    return "\n".join(lines) + "\n"


def _safe(text: str) -> str:
    for character, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(character, name)
    return text
