"""Figures as files that are the same bytes every time."""

import os
from pathlib import Path

from matplotlib.figure import Figure

from skviz.errors import SkvizError
from skviz.plot import style

__all__ = ["save_figure"]

# Formats, and the metadata that matplotlib would otherwise fill with the date.
FORMATS: dict[str, dict[str, str | None]] = {
    ".pdf": {"CreationDate": None, "Creator": "skviz", "Producer": None},
    ".png": {"Software": "skviz"},
    ".svg": {"Date": None, "Creator": "skviz"},
}


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure at exactly its size, fonts embedded, without date.

    Parameters
    ----------
    figure
        From `skviz.plot`, or any matplotlib figure.
    path
        Ending in ``.pdf``, ``.png`` (300 dpi) or ``.svg``. The folder is made if need be.

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    SkvizError
        For another ending.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise SkvizError(f"cannot write {path.name}: a figure ends in {', '.join(FORMATS)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}")
    with style.context():
        figure.savefig(beside, format=path.suffix[1:], metadata=FORMATS[path.suffix])
    beside.replace(path)
    return path
