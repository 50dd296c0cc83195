"""Rewrite `docs/gallery.md` and its pictures from the set that `skviz figures` draws.

python tools/build_gallery.py
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import skviz
from skviz import cli
from skviz.figures.sets import FigureSet

DOCS = Path(__file__).parent.parent / "docs"
HEAD = """# Gallery

What `skviz figures` writes, with the captions that `skviz.caption` gives;
`notebooks/06_paper_figures.ipynb` draws them. `python tools/build_gallery.py` made this page.
"""
LEFT_OUT = ("unit_diagram", "overview")  # one more of a kind that is there


def main() -> None:
    """Draw every figure and write it down with its caption."""
    shipped = FigureSet(Path(cli.__file__).parent / "figures" / "figures.toml")
    page = [HEAD]
    for name in shipped.entries:
        if name not in LEFT_OUT:
            figure = shipped.figure(name)
            with TemporaryDirectory() as beside:  # the numbers stay out of docs/
                path = skviz.save_figure(figure, Path(beside) / f"{name}.png", dpi=110)
                shutil.copy(path, DOCS / "gallery")
            page.append(f"## {name}\n\n![{name}](gallery/{name}.png)\n\n{skviz.caption(figure)}\n")
    (DOCS / "gallery.md").write_text("\n".join(page))


if __name__ == "__main__":
    main()
