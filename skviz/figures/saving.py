"""Figures as files: exactly sized, fonts embedded, the same bytes every time, with their data."""

import io
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import xarray as xr
from matplotlib import get_cachedir
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from skviz.errors import SkvizError, entrance
from skviz.figures import pgf, provenance
from skviz.figures.record import comment
from skviz.plot import style

LABEL = re.compile(r"[^\w.:+-]")  # what has no place in one
CLIP = re.compile(r"url\(#(p[0-9a-f]{10})\)")  # in SVG, as Matplotlib names them
FORMULA = re.compile(r"[=+\-@\t\r]")  # how a spreadsheet's formula begins
FINEST = 4800  # dots per inch
FORMATS = (".pdf", ".png", ".svg", ".eps", ".pgf")


@entrance
def save_figure(
    figure: Figure | Callable[[], Figure],
    path: str | os.PathLike[str],
    *,
    venue: str | None = None,
    width: str | float | None = None,
    dpi: float = 300,
    anonymous: bool = False,
    dataset: bool = False,
) -> Path:
    """Write a figure at exactly its size, with fonts and provenance inside and its data beside it.

    Parameters
    ----------
    figure
        From `skviz.plot`, any other matplotlib figure, or a function that draws one.
    path
        Ending in ``.pdf``, ``.png``, ``.svg``, ``.eps`` or ``.pgf``. The folder is made if need be.
    venue
        Whose page it is for (see `skviz.plot.venues`); by default the figure's own.
    width
        ``"column"``, ``"text"`` or inches; by default the figure's own choice. If either is given,
        a figure of skviz is drawn again for that page, so that it has its fonts; changes made
        by hand since are not repeated (draw inside ``skviz.plot.style.context(venue=…)`` to keep
        them). Any other figure is laid out anew at that width.
    dpi
        Of PNG, and of pictures in the other formats; 1 to 4800.
    anonymous
        Leave out of the file what could name the author: the code's revision, the network's name.
    dataset
        Also keep the data that the figure was drawn from, as a Zarr store of its name.

    Returns
    -------
    Path
        Where it was written. Beside it is what it shows as CSV, one row per number. Nothing is
        there until all of it is complete.

    Notes
    -----
    The same data and options give the same bytes, on every processor and with any number of
    threads. Data that are measured again need not be the same: PyTorch adds float32 numbers in
    an order that depends on both, so that weights differ by about 1e-7, which may move the last of
    the six digits in a CSV. No rounding mends that, as some number always lies at its edge. Keep
    the study (``dataset=True``, or a sweep's ``store=``) where bytes must be repeated.

    Raises
    ------
    SkvizError
        For another ending, venue or width; for characters that no installed font has; or if the
        file cannot be written.

    Examples
    --------
    >>> import skviz, tempfile, pathlib
    >>> scenes = skviz.place(skviz.objects(category="bus"), seed=1)
    >>> ds = skviz.sweep(skviz.load("objects"), scenes, scales=[0.5, 2.0], progress=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "scale.pdf")
    ...     _ = skviz.save_figure(skviz.plot.scale_response(ds), path, venue="neurips")
    ...     path.read_bytes()[:5]
    b'%PDF-'
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise SkvizError(f"cannot write {path.name}: a figure ends in {', '.join(FORMATS)}")
    if path.is_dir():
        raise SkvizError(f"cannot write {path}: it is a folder")
    if not 1 <= dpi <= FINEST:
        raise SkvizError(f"dpi must lie between 1 and {FINEST}, got {dpi:g}")
    made = sized(figure, venue, width)
    known = provenance.collect(made, anonymous=anonymous)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=".skviz-") as folder, style.context():
            beside = Path(folder)
            write(made, beside / path.name, known, dpi)
            for name, table in provenance.tables(made).items():
                literal(table).to_csv(beside / f"{path.stem}{name}.csv", float_format="%.6g")
            if dataset:
                keep(made, beside / f"{path.stem}.zarr", anonymous=anonymous)
            for part in sorted(beside.iterdir()):
                if part.is_dir():
                    shutil.rmtree(path.parent / part.name, ignore_errors=True)
                part.replace(path.parent / part.name)
    except OSError as error:
        raise SkvizError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def sized(
    figure: Figure | Callable[[], Figure], venue: str | None, width: str | float | None
) -> Figure:
    """Return the figure as it is for a page: drawn for it, or laid out anew at its width."""
    with style.context(venue=venue, width=width):
        again = getattr(figure, "again", None)
        if not isinstance(figure, Figure):
            return figure()
        if venue is None and width is None:
            return figure
        if again is not None:
            return again()
        figure.set_size_inches(style.inches("column"), figure.get_figheight())
        figure.set_layout_engine("constrained")
        return figure


def write(figure: Figure, path: Path, known: str, dpi: float) -> None:
    """Write one file, with its provenance."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", r"Glyph .* missing from font")
        try:
            if path.suffix == ".pgf":
                pgf.write(figure, path, comment(known), dpi)
            elif path.suffix == ".eps":
                path.write_text(eps(figure, comment(known), dpi), encoding="latin-1")
            else:
                figure.savefig(path, dpi=dpi, metadata=metadata(path, known))
            if path.suffix == ".svg":
                path.write_text(numbered(path.read_text(encoding="utf-8")), encoding="utf-8")
        except UserWarning as missing:
            raise SkvizError(
                f"cannot write {path.name}: {missing}; install a font that has it, such as "
                f"{style.FALLBACKS[0]}, and empty matplotlib's font cache ({get_cachedir()})"
            ) from missing


def numbered(svg: str) -> str:
    """Name clip paths by their order: Matplotlib's names change with the last bits of a layout."""
    names = dict.fromkeys(CLIP.findall(svg))
    places = {name: f"clip{place}" for place, name in enumerate(names)}
    return re.sub(r"\bp[0-9a-f]{10}\b", lambda found: places.get(found[0], found[0]), svg)


def literal(table: Any) -> Any:
    """Return a table in which no text is a formula to a spreadsheet."""

    def cell(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value

    texts = {name: table[name].map(cell) for name in table.select_dtypes(exclude="number")}
    return table.assign(**texts).rename(index=cell, columns=cell)


def metadata(path: Path, known: str) -> dict[str, str | None]:
    """Return what a format calls provenance, and nothing of what it would fill with the date."""
    if path.suffix == ".pdf":
        return {"Keywords": known, "Creator": "skviz", "Producer": None, "CreationDate": None}
    if path.suffix == ".svg":
        return {"Description": known, "Creator": "skviz", "Date": None}
    return {"Description": known, "Software": "skviz"}


def eps(figure: Figure, header: str, dpi: float) -> str:
    """Return a figure as EPS, without the date that matplotlib writes."""
    text = io.StringIO()
    with opaque(figure):
        figure.savefig(text, format="eps", dpi=dpi, metadata={"Creator": "skviz"})
    first, *lines = text.getvalue().splitlines(keepends=True)
    return first + header + "".join(line for line in lines if "%%CreationDate" not in line)


@contextmanager
def opaque(figure: Figure) -> Iterator[None]:
    """Show bands as they look on white, for PostScript, which knows no transparency."""
    found: list[Any] = [
        *figure.findobj(lambda a: isinstance(a, Collection | Patch) and (a.get_alpha() or 1) < 1)
    ]
    before = [(artist, artist.get_alpha(), artist.get_facecolor()) for artist in found]
    for artist, alpha, colours in before:
        artist.set_alpha(None)
        mixed = alpha * to_rgba_array(colours)[:, :3] + (1 - alpha)
        artist.set_facecolor(mixed if isinstance(artist, Collection) else mixed[0])
    yield
    for artist, alpha, colours in before:
        artist.set_facecolor(colours)
        artist.set_alpha(alpha)


def keep(figure: Figure, path: Path, *, anonymous: bool) -> None:
    """Write the data that a figure was drawn from as a Zarr store."""
    from skviz.studies import store

    for value in getattr(getattr(figure, "again", None), "args", ()):
        if isinstance(value, xr.Dataset):
            ds = value.copy()
            if anonymous:
                ds.attrs = {k: v for k, v in ds.attrs.items() if k in provenance.NAMELESS}
            store.save(ds, path)
            return
    raise SkvizError("there is no Dataset to keep: the figure was not drawn from one")


@entrance
def caption(figure: Figure) -> str:
    """Return a caption that says what the figure shows, with n, interval and protocol.

    Examples
    --------
    >>> import skviz
    >>> scenes = skviz.place(skviz.objects(category="bus"), seed=1)
    >>> ds = skviz.sweep(skviz.load("objects"), scenes, scales=[0.5, 2.0], progress=False)
    >>> "95 %" in skviz.caption(skviz.plot.scale_response(ds))
    True
    """
    return str(getattr(figure, "caption", ""))


def latex(figure: Figure, path: str | os.PathLike[str]) -> str:
    r"""Return the LaTeX that shows a saved figure: ``\includegraphics``, caption and label."""
    path = Path(path)
    star = "*" if figure.get_figwidth() > 6.5 else ""  # across both columns
    include = rf"\input{{{path.name}}}" if path.suffix == ".pgf" else (
        rf"\includegraphics{{{path.name}}}"
    )  # fmt: skip
    return "\n".join(
        (
            rf"\begin{{figure{star}}}[t]",
            rf"  \centering{include}",
            rf"  \caption{{{pgf.escape(caption(figure))}}}",
            rf"  \label{{fig:{LABEL.sub('-', path.stem)}}}",
            rf"\end{{figure{star}}}",
        )
    )
