"""What can be taken away from an explorer: a figure, a page, a page with the network in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from skviz.errors import SkvizError
from skviz.explorer import page
from skviz.explorer.items import SETTING
from skviz.explorer.live import packed
from skviz.explorer.worker import asking

if TYPE_CHECKING:
    from skviz.explorer.widget import Explorer


# What a page keeps of the state.
STORED = (*SETTING, "scale", "unit", "method", "target", "choices", "maps", "controls")
LARGE = 25e6  # bytes, for a phone


def saved(
    explorer: Explorer,
    path: Path,
    *,
    live: bool = False,
    objects: int | Sequence[str] = 0,
    options: dict[str, Any],
) -> Path:
    """Write what an explorer shows; see `skviz.explorer.widget.Explorer.save`."""
    from skviz.figures.saving import FORMATS, save_figure  # and Matplotlib, which takes long

    if path.suffix in FORMATS:
        if live:
            raise SkvizError(f"{path.name} is no page that could be live; write to .html")
        return save_figure(explorer.figure(), path, **options)
    if path.suffix != ".html":
        endings = ", ".join((".html", *FORMATS))
        raise SkvizError(f"cannot write {path.name}: the ending must be one of {endings}")
    if options:
        raise SkvizError(f"a page has no options, got {', '.join(options)}")
    view = explorer._shown
    state = {name: getattr(explorer, name) for name in STORED} | {"grid": view.payload}
    family, _, name = explorer.item.rpartition("/")
    title = f"{name}{f' ({family})' * bool(family)} in the network {explorer.network}"
    if not live:
        return page.write(path, state, title)
    with asking:
        told, files = packed(explorer._model, view, objects)
    page.write(path, state | {"method": "", "maps": {}} | told, title, files)
    size = path.stat().st_size
    large = ", much for a phone; without live=True it is small" * (size > LARGE)
    print(f"{path}: {size / 1e6:.1f} MB, {len(told['live']['items'])} objects{large}")
    return path


def file_of(explorer: Explorer, ending: str) -> tuple[str, bytes]:
    """Return a name for a file of the present view, and what is in it."""
    scale = explorer._shown.nearest(explorer.scale)
    stem = re.sub(r"[^\w.-]+", "-", f"{explorer.item}-{scale:g}").strip("-.")
    with TemporaryDirectory() as folder:
        path = saved(explorer, Path(folder, f"{stem}{ending}"), options={})
        return path.name, path.read_bytes()
