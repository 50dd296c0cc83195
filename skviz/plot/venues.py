"""Pages that figures are made for: their widths, the height that fits, and the size of text."""

from dataclasses import dataclass, replace

from tueplots import figsizes, fontsizes

from skviz.errors import SkvizError

MM = 1 / 25.4  # inches


@dataclass(frozen=True)
class Venue:
    """A page.

    Attributes
    ----------
    column, text
        Width in inches of a column and of the whole text; the same where there is one column.
    tall
        Height in inches that a figure may have.
    font
        Size in points of a figure's labels; tick labels and legends are one point smaller.
    source
        Where the numbers are from.
    """

    column: float
    text: float
    tall: float
    font: float
    source: str


def tueplots(column: str, text: str, font: str, *, tall: float = 8.0) -> Venue:
    """Take widths and font size from the package tueplots, by the names of its functions."""
    widths: list[float] = []
    for name in (column, text):
        whole = {"rel_width": 1.0} if name.startswith("beamer") else {}  # else nine tenths
        widths.append(getattr(figsizes, name)(**whole)["figure.figsize"][0])
    size = getattr(fontsizes, font)()["font.size"]
    return Venue(widths[0], widths[1], tall, size, f"tueplots: {column}, {text}, {font}")


CVPR = replace(
    tueplots("cvpr2024_half", "cvpr2024_full", "cvpr2024"),
    column=(6.875 - 0.3125) / 2,  # 236.25 bp; tueplots has 3.25
    source="cvpr.sty, 2024: textwidth 6.875 in, columnsep 0.3125 in; font of tueplots: cvpr2024",
)
LNCS = replace(
    tueplots("eccv2024", "eccv2024", "eccv2024", tall=7.0),
    column=122 * MM,  # tueplots has 4.8 inches
    text=122 * MM,
    source="llncs.cls 2.24, 2023: textwidth 12.2 cm; font of tueplots: eccv2024",
)
IEEE = Venue(3.5, 7.16, 8.5, 8, "IEEE Author Center, resolution and size: 3.5 in and 7.16 in wide")
VENUES = {
    "cvpr": CVPR,
    "iccv": CVPR,  # the same style file
    "icml": tueplots("icml2024_half", "icml2024_full", "icml2024"),
    "neurips": tueplots("neurips2024", "neurips2024", "neurips2024"),
    "iclr": tueplots("iclr2024", "iclr2024", "iclr2024"),
    "eccv": LNCS,
    "lncs": LNCS,
    "ieee": IEEE,
    "tpami": IEEE,
    "nature": Venue(
        89 * MM, 183 * MM, 170 * MM, 7, "Nature, final submission: 89 and 183 mm wide, at most "
        "170 mm tall, text of 5 to 7 pt"
    ),
    "thesis": tueplots("tue_ai_thesis", "tue_ai_thesis", "tue_ai_thesis"),
    "slides": tueplots("beamer_169", "beamer_169", "beamer", tall=2.9),  # below the slide's title
}  # fmt: skip


def venue(name: str) -> Venue:
    """Return a venue by its name.

    Raises
    ------
    SkvizError
        If there is none of this name.
    """
    if name not in VENUES:
        raise SkvizError(f"no venue {name!r}; there are {', '.join(VENUES)}, or give a width")
    return VENUES[name]
