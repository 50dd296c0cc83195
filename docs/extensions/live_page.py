"""The page with the network in it, made when the site is built."""

from pathlib import Path

from sphinx.application import Sphinx

PACKAGE = Path(__file__).parents[2] / "skviz"
FIRST = "fxemoji/penguin"


def made(app: Sphinx) -> None:
    """Write it beside the pages, unless it is newer than all that makes it."""
    page = Path(app.outdir, "live.html")
    changed = max(path.stat().st_mtime for path in PACKAGE.rglob("*") if path.is_file())
    if page.exists() and page.stat().st_mtime > changed:
        return
    import skviz

    model, objects = skviz.load("objects"), skviz.objects(family="fxemoji")
    controls = skviz.controls(model, objects[::4], scales=[0.5, 2.0], seeds=1, progress=False)
    explorer = skviz.explore(model, objects, controls=controls)
    explorer.item = FIRST
    explorer.wait()
    explorer.save(page, live=True)
    explorer.close()


def setup(app: Sphinx) -> dict[str, bool]:
    """Make it before pages are read."""
    app.connect("builder-inited", made)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
