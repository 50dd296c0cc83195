r"""Figures as PGF, for ``\input`` into a LaTeX document, without a LaTeX installation.

matplotlib asks LaTeX how large each text will be. Here the figure's own font answers, which is
wider than those of most documents; LaTeX then sets the text in the document's font.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.backends.backend_pgf import RendererPgf
from matplotlib.figure import Figure
from PIL import Image

SPECIAL = {
    **{character: f"\\{character}" for character in "{}#&$_%"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "−": r"\ensuremath{-}",
    "±": r"\ensuremath{\pm}",
    "×": r"\ensuremath{\times}",
    "Σ": r"\ensuremath{\Sigma}",
    "·": r"\ensuremath{\cdot}",
    "…": r"\ldots{}",
    "→": r"\ensuremath{\rightarrow}",
}


def escape(text: str) -> str:
    """Return text that LaTeX sets as it is."""
    return "".join(SPECIAL.get(character, character) for character in text)


class Renderer(RendererPgf):
    """matplotlib's, with text measured here and pictures at the figure's resolution."""

    def __init__(self, figure: Figure, file: Any) -> None:
        super().__init__(figure, file)
        self.measure = RendererAgg(1, 1, figure.dpi)

    def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> Any:
        """Measure with the figure's font."""
        return self.measure.get_text_width_height_descent(s, prop, ismath)

    def draw_text(
        self, gc: Any, x: float, y: float, s: str, prop: Any, angle: float,
        ismath: Any = False, mtext: Any = None,
    ) -> None:  # fmt: skip
        """Set text literally."""
        super().draw_text(gc, x, y, escape(s), prop, angle, ismath, mtext)

    def option_scale_image(self) -> bool:
        """Let matplotlib bring pictures to their size."""
        return False

    def draw_image(self, gc: Any, x: float, y: float, im: Any, *_: Any) -> None:
        """Write a picture, uint8 (H, W, RGBA) from the bottom up, beside the figure."""
        name = f"{Path(self.fh.name).stem}-img{self.image_counter}.png"
        self.image_counter += 1
        Image.fromarray(np.ascontiguousarray(im[::-1])).save(Path(self.fh.name).parent / name)
        self.fh.write("\\begin{pgfscope}%\n")
        self._print_pgf_clip(gc)
        left, low, wide, high = (v / self.dpi for v in (x, y, im.shape[1], im.shape[0]))
        self.fh.write(
            rf"\pgftext[left,bottom,at=\pgfqpoint{{{left:f}in}}{{{low:f}in}}]"
            rf"{{\includegraphics[width={wide:f}in,height={high:f}in]{{{name}}}}}"
            "%\n\\end{pgfscope}%\n"
        )


def write(figure: Figure, path: Path, header: str, dpi: float) -> None:
    """Write a figure of exactly its size, and its pictures as PNG beside it."""
    before = figure.dpi
    figure.dpi = dpi
    wide, high = figure.get_size_inches()
    try:
        with path.open("w", encoding="utf-8") as file:
            file.write(f"{header}% \\usepackage{{pgf}}, then \\input{{{path.name}}}\n")
            file.write("\\begingroup\\makeatletter\\begin{pgfpicture}%\n")
            corner = rf"\pgfqpoint{{{wide:f}in}}{{{high:f}in}}"
            file.write(rf"\pgfpathrectangle{{\pgfpointorigin}}{{{corner}}}" + "%\n")
            file.write("\\pgfusepath{use as bounding box, clip}%\n")
            vector: Any = Renderer(figure, file)
            figure.draw(MixedModeRenderer(figure, wide, high, dpi, vector))  # type: ignore[arg-type]
            file.write("\\end{pgfpicture}\\makeatother\\endgroup%\n")
    finally:
        figure.dpi = before
