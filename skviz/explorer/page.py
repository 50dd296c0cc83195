"""A view of the explorer in one file that needs neither kernel nor network."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skviz.errors import SkvizError

HERE = Path(__file__).parent
VIEW = (
    "state",
    "parts",
    "charts",
    "verdicts",
    "controls",
    "own",
    "strip",
    "kernel",
    "live",
    "address",
    "view",
    "alone",
)  # each needs those before it
WORKER = ("scenes", "cutting", "changes", "worker")


def joined(modules: Sequence[str]) -> str:
    """Return the modules as one: notebooks and pages take one piece of text."""
    whole = "\n".join((HERE / "js" / f"{name}.js").read_text("utf-8") for name in modules)
    alone = re.sub(r"^import \{[^}]*\} from .*;\n", "", whole, flags=re.MULTILINE)
    return re.sub(r"^export (?!default)", "", alone, flags=re.MULTILINE)


JAVASCRIPT = joined(VIEW)
CSS = (HERE / "explorer.css").read_text("utf-8")

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
script-src 'unsafe-inline'{allowed}; style-src 'unsafe-inline'; img-src data: blob:">
<title>{title}</title>
<style>:root {{ color-scheme: light dark; background: Canvas }}
body {{ margin: 1em; font: 15px/1.45 system-ui, sans-serif }}
main {{ max-width: 1280px; margin: auto }} h1 {{ font-size: 1.3em; margin: 0 }}
main > p {{ max-width: 44em; margin: .4em 0 1.2em }}
{css}</style>
</head>
<body>
<main>
<h1>{heading}</h1>
<p>A Selective-Kernel unit looks at the same picture through kernels of several sizes and weighs
them against each other, channel by channel. Move the slider: the object grows, and the bars show
how much weight each unit gives to each kernel. {how}</p>
<div id="explorer"></div>
<noscript>This page draws with JavaScript, which is switched off.</noscript>
</main>
<script type="application/json" id="state">{state}</script>
{live}<script type="module">
{javascript}
const explorer = document.getElementById("explorer");
standalone(explorer, document.getElementById("state").textContent).catch((error) => {{
  explorer.textContent = `This page needs a browser of 2023 or later: ${{error.message}}`;
}});
</script>
</body>
</html>
"""


STORED = "What you see was measured, scale by scale, and stored in this page."
LIVE = """The network itself is in this page, and runs on your
computer: take the object by a corner, move it, choose another. Nothing is sent anywhere."""
QUESTION = "Does this network look with a larger kernel when the object grows?"
# Blobs are what this page makes of itself: its worker, and the runtime within.
ALLOWED = " 'wasm-unsafe-eval' blob:; worker-src blob:; connect-src blob:"


def write(
    path: Path, state: Mapping[str, Any], title: str, packed: Mapping[str, bytes] | None = None
) -> Path:
    """Write a page that shows a state of the explorer; its slider works without kernel.

    Parameters
    ----------
    path
        Where; the folder is made if need be.
    state
        The values of the explorer's traits: bytes, and what JSON knows.
    title
        Any text.
    packed
        What `skviz.explorer.live.packed` gives, for a page with the network in it.
    """
    live = [
        f'<script type="text/plain" id="{name}">{_text(content)}</script>\n'
        for name, content in (packed or {}).items()
    ]
    if packed:
        live.append(f'<script type="text/plain" id="worker">{joined(WORKER)}</script>\n')
    page = PAGE.format(
        title=html.escape(title),
        heading=QUESTION if packed else html.escape(title),
        css=CSS,
        javascript=JAVASCRIPT,
        how=LIVE if packed else STORED,
        allowed=ALLOWED if packed else "",
        live="".join(live),
        # No text may end the element or open a comment.
        state=json.dumps(state, default=_encoded, allow_nan=False).replace("<", "\\u003c"),
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SkvizError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def zipped(content: bytes) -> bytes:
    """Return bytes that are the same whenever this is done."""
    return gzip.compress(content, mtime=0)


def _text(content: bytes) -> str:
    """Write bytes as text."""
    return base64.b64encode(content).decode()


def _encoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"gzip": _text(zipped(value))}
    raise TypeError(f"{type(value).__name__} cannot be written to a page")
