"""Status page: render a mirror's status as HTML, without external resources; pure."""

import base64
import hashlib
from datetime import UTC, datetime
from html import escape

from preheat.core.units import say_size
from preheat.mirror.status.counters import Eviction, RequestCounts
from preheat.mirror.status.mirror_status import Model, Standing
from preheat.mirror.status.page_phrases import Phrases
from preheat.mirror.upstream.fetches import UnderWay

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2125; --soft: #626b75; --line: #dfe3e8; --ground: #fff; --raised: #f6f7f9;
  --warm: #d9480f }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ea; --soft: #98a2ad; --line: #343a41; --ground: #15181b;
  --raised: #1e2226; --warm: #ff8f5a } }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; margin: 0;
  color: var(--ink); background: var(--ground) }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 3rem }
h1 { font-size: 1.4rem; margin: 0 } h2 { font-size: 1.05rem; margin: 2rem 0 .6rem }
header { display: flex; justify-content: space-between; align-items: baseline; flex-wrap: wrap; gap: .2rem 1rem }
small, .soft { color: var(--soft) } p { margin: .4rem 0 }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .8rem;
  margin: 1.2rem 0 0 }
.figures div { background: var(--raised); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem }
.figures b { display: block; font-size: 1.6rem; font-weight: 600; line-height: 1.25;
  font-variant-numeric: tabular-nums }
.figures span, .figures small { display: block }
table { width: 100%; border-collapse: collapse }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: .85rem }
td, th { padding: .4rem .6rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
td:last-child, th:last-child { text-align: right; padding-right: 0; white-space: nowrap }
td:first-child { overflow-wrap: anywhere } td { font-variant-numeric: tabular-nums }
.pin { font-size: .75rem; border: 1px solid var(--line); border-radius: 1rem; padding: 0 .5rem; color: var(--soft);
  white-space: nowrap }
.fetch { margin: .7rem 0 } .fetch p { display: flex; justify-content: space-between; gap: 1rem; margin: 0 0 .25rem }
.fetch p > :first-child { overflow-wrap: anywhere } .fetch p > :last-child { white-space: nowrap }
progress { width: 100%; height: .5rem; accent-color: var(--warm); display: block }
pre { background: var(--raised); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem;
  margin: .4rem 0; overflow-x: auto; font: .9rem/1.5 ui-monospace, monospace }
#gone { position: sticky; top: 0; background: var(--warm); color: var(--ground); padding: .4rem 1rem;
  text-align: center }
@media (max-width: 34rem) { .version { display: none } }
"""
# The script only replaces the page's live part with a newer copy from the server.
_SCRIPT = """
setInterval(async () => {
  const gone = document.getElementById("gone");
  try {
    const answer = await fetch(location.href, { cache: "no-store", headers: { Accept: "text/html" } });
    const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-live]");
    if (!answer.ok || !next) throw new Error();
    document.querySelector("[data-live]").replaceWith(document.adoptNode(next));
    gone.hidden = true;
  } catch (error) { gone.hidden = false }
}, 2000);
"""


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


# Only the style and script above may load, even if a model's name contains HTML.
POLICY = (
    f"default-src 'none'; style-src {_source(_STYLE)}; script-src {_source(_SCRIPT)}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def write_page(standing: Standing, url: str, say: Phrases) -> str:
    """Return the page; `url` is the URL by which the browser reached the mirror."""
    fetches = "".join(_fetch(one, say) for one in standing.under_way) or f'<p class="soft">{say.idle}</p>'
    return f"""<!doctype html>
<html lang="{say.code}"><head><meta charset="utf-8"><title>{say.title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{_STYLE}</style></head><body>
<p id="gone" hidden>{say.no_answer}</p>
<main><div data-live>
<header><h1>{say.title}</h1><small>{say.up} {_age(standing.up_s)}</small></header>
{_figures(standing, say)}
<h2>{say.fetching}</h2>
{fetches}
<h2>{say.models}</h2>
{_models(standing.models, say)}
{_evictions(standing.served, say)}
</div>
<h2>{say.use}</h2>
<p class="soft">{say.use_hint}</p>
{"".join(f"<pre>{escape(line)}</pre>" for line in ways_in(url))}
</main>
<script>{_SCRIPT}</script>
</body></html>
"""


def write_words(standing: Standing, url: str) -> str:
    """Return a short version for terminals."""
    lines = [f"preheat mirror: {len(standing.models)} versions, {say_size(standing.stored)}", ""]
    lines += [f"  {one.ref}  {one.commit[:12]}  {say_size(one.size)}" for one in standing.models]
    lines += [
        f"  fetching {one.ref} {one.path}: {say_size(one.done)} of {say_size(one.size)}" for one in standing.under_way
    ]
    if standing.served.evicted:
        lines.append(f"  evicted {standing.served.evicted} versions, {say_size(standing.served.evicted_size)}")
    return "\n".join((*lines, *([""] if len(lines) > 2 else []), *ways_in(url), "")) + "\n"


def ways_in(url: str) -> tuple[str, ...]:
    """Return the lines that configure each client."""
    secure, host = url.startswith("https://"), url.partition("://")[2]
    modelscope = f"export MODELSCOPE_ENDPOINT={url}"
    if secure:
        # Clients before 1.28 accept only a host, and always use TLS.
        modelscope += f" MODELSCOPE_DOMAIN={host}"
    return (f"export HF_ENDPOINT={url}", modelscope, f"preheat pull OWNER/NAME --endpoint hf={url}")


def _figures(standing: Standing, say: Phrases) -> str:
    sent, received = say_size(standing.served.given), say_size(standing.fetched.received)
    asked = standing.fetched.hits + standing.fetched.misses
    boxes = [
        (say_size(standing.saved), say.saved, say.saved_of.format(sent, received)),
        (
            say_size(standing.stored),
            say.here,
            say.here_of.format(say_size(standing.stored), say_size(standing.cap)) if standing.cap else "",
        ),
        (f"{asked:,}", say.answers, say.files_here.format(f"{standing.fetched.hits:,}")),
    ]
    shown = "".join(f"<div><b>{b}</b><span>{name}</span><small>{more}</small></div>" for b, name, more in boxes)
    return f'<section class="figures">{shown}</section>'


def _fetch(one: UnderWay, say: Phrases) -> str:
    name = f"{escape(str(one.ref))} <small>{escape(one.path)}</small>"
    amount = f"{say_size(one.done)} / {say_size(one.size)} <small>{say.readers.format(one.clients)}</small>"
    bar = f'<progress max="{max(1, one.size)}" value="{one.done}"></progress>'
    return f'<div class="fetch"><p><span>{name}</span><span>{amount}</span></p>{bar}</div>'


def _models(models: tuple[Model, ...], say: Phrases) -> str:
    if not models:
        return f'<p>{say.none}</p><p class="soft">{say.none_hint}</p>'
    rows = "".join(_row(one, say) for one in models)
    head = f'<tr><th>{say.model}</th><th class="version">{say.version}</th><th>{say.size}</th></tr>'
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _evictions(served: RequestCounts, say: Phrases) -> str:
    if not served.evicted:
        return ""
    rows = "".join(_gone(one) for one in served.evictions)
    words = say.evicted_hint.format(f"{served.evicted:,}", say_size(served.evicted_size))
    return f'<h2>{say.evicted}</h2><p class="soft">{words}</p><table><tbody>{rows}</tbody></table>'


def _gone(one: Eviction) -> str:
    version, at = one.version, datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    names = " ".join(map(escape, version.revisions))
    cells = f'<td class="version">{names} <small>{escape(version.commit[:12])}</small></td>'
    cells += f"<td>{say_size(version.size)}</td>"
    return f"<tr><td>{escape(str(version.ref))}</td><td>{at}</td>{cells}</tr>"


def _row(one: Model, say: Phrases) -> str:
    pin = f' <span class="pin">{say.pinned}</span>' if one.pinned else ""
    names = " ".join(map(escape, one.revisions))
    missing = f"<br><small>{say.missing.format(say_size(one.missing))}</small>" if one.missing else ""
    version = f'<td class="version">{names} <small>{escape(one.commit[:12])}</small></td>'
    return f"<tr><td>{escape(one.ref)}{pin}</td>{version}<td>{say_size(one.size)}{missing}</td></tr>"


def _age(seconds: float) -> str:
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
