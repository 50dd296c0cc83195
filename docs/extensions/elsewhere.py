"""Pages that lie elsewhere in the repository: the notebooks, and README in Chinese.

Sphinx reads only what is in its own folder, so they are copied there, where git ignores them.
"""

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
# Where the links of README.zh.md lead within the site.
LINKS = {
    "](README.md#what-the-shipped-network-does)": "](../explanation/weights.md)",
    "](README.md)": "](../index.md)",
    "](docs/": "](../",
}
BELOW = """
```{toctree}
:hidden:

../tutorials/01_sk_unit.zh
```
"""


def copied(app: Sphinx) -> None:
    """Copy what changed, and remove copies of what is no more."""
    pages = {f"tutorials/{p.name}": p.read_text("utf-8") for p in ROOT.glob("notebooks/*.ipynb")}
    chinese = (ROOT / "README.zh.md").read_text("utf-8")
    for link, within in LINKS.items():
        chinese = chinese.replace(link, within)
    pages["zh/index.md"] = chinese + BELOW
    folder = Path(app.srcdir)
    for path in folder.glob("tutorials/*.ipynb"):
        if f"tutorials/{path.name}" not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def in_chinese(_: Sphinx, name: str, __: str, context: dict[str, Any], ___: Any) -> None:
    """Say of a page in Chinese that it is."""
    if name.startswith("zh/") or name.endswith(".zh"):
        context["language"] = "zh"


def setup(app: Sphinx) -> dict[str, bool]:
    """Copy before pages are looked for."""
    app.connect("builder-inited", copied)
    app.connect("html-page-context", in_chinese)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
