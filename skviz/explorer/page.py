"""``export_html``: a view of the explorer in one file that needs neither kernel nor network."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skviz.errors import SkvizError

if TYPE_CHECKING:
    import os

    from skviz.explorer.widget import Explorer

__all__ = ["export_html"]

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:">
<title>{title}</title>
<style>:root {{ color-scheme: light dark }} body {{ margin: 1em }}
{css}</style>
</head>
<body>
<div id="explorer"></div>
<noscript>This page draws with JavaScript, which is switched off.</noscript>
<script type="application/json" id="state">{state}</script>
<script type="module">
{javascript}
standalone(document.getElementById("explorer"), document.getElementById("state").textContent);
</script>
</body>
</html>
"""


def export_html(view: Explorer, path: str | os.PathLike[str]) -> Path:
    """Write the present view as a page whose slider works without kernel and network.

    Parameters
    ----------
    view
        What `skviz.explore` made.
    path
        Ending in ``.html``. The folder is made if need be.

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    SkvizError
        For another ending, or if nothing is measured yet.
    """
    path = Path(path)
    if path.suffix != ".html":
        raise SkvizError(f"cannot write {path.name}: a page ends in .html")
    if not view.grid:
        raise SkvizError("nothing is measured yet; call wait() first")
    state = {name: view.trait_values()[name] for name in view.traits(sync=True) if name[0] != "_"}
    del state["layout"]
    state |= {"code": view.python, "progress": 1.0, "problem": ""}
    page = PAGE.format(
        title=html.escape(f"{view.item} in {view.network}"),
        css=view._css,
        javascript=view._esm,
        # No text may end the element or open a comment.
        state=json.dumps(state, default=_encoded).replace("<", "\\u003c"),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _encoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    raise TypeError(f"{type(value).__name__} cannot be written to a page")
