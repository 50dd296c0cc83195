"""Where a figure comes from, and what it shows: what is written into its file."""

import base64
import gzip
import inspect
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from skviz.plot import style

LARGE = 200_000  # characters of numbers, above which a file does not hold them
NAMELESS = (
    "skviz",
    "figure",
    "parameters",
    "seed",
    "protocol",
    "images",
    "images_sha256",
    "scales",
)


def collect(figure: Figure, *, anonymous: bool = False, whole: bool = True) -> str:
    """Describe what a figure was made from and how, as JSON: no time, no user, no path.

    Parameters
    ----------
    figure
        From ``skviz.plot`; of any other figure only the version and revision are known.
    anonymous
        Leave out what could name the author: the revision, the network and the numbers.
    whole
        Whether it is a figure of its own, not part of one, which holds all numbers.
    """
    known: dict[str, Any] = {"skviz": version("skviz"), "revision": revision()}
    again, page = getattr(figure, "again", None), getattr(figure, "page", style.Page())
    known |= {"labels": page.labels or None, "name": page.name}
    if isinstance(again, partial):
        call = inspect.signature(again.func).bind(*again.args, **again.keywords)
        call.apply_defaults()
        options = {k: v for k, v in call.arguments.items() if call.signature.parameters[k].kind
                   == inspect.Parameter.KEYWORD_ONLY}  # fmt: skip
        known |= {"figure": again.func.__name__, "parameters": plain(options)}
        for value in (*again.args, *getattr(figure, "tables", {}).values()):
            if isinstance(value, xr.Dataset):
                attrs = value.attrs
                known |= {str(key): plain(attrs[key]) for key in attrs if key not in known}
            elif isinstance(value, Sequence):  # the parts of a panel
                known["parts"] = [
                    json.loads(collect(part, anonymous=anonymous, whole=False)) for part in value
                ]
    kept = {k: v for k, v in known.items() if v is not None}
    if not anonymous and "figure" in known and whole:
        packed = numbers(figure)
        kept |= {"numbers": packed} if len(packed) <= LARGE else {}
    if anonymous:
        kept = {key: kept[key] for key in (*NAMELESS, "parts") if key in kept}
    return json.dumps(kept, sort_keys=True)


def plain(value: Any) -> Any:
    """Return what JSON can hold; of a path its last part, of anything else its kind."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple | range):
        return [plain(each) for each in value]
    if isinstance(value, os.PathLike) or (isinstance(value, str) and Path(value).is_absolute()):
        return Path(value).name
    return value if isinstance(value, str | int | float | None) else type(value).__name__


@cache
def revision() -> str | None:
    """Return the git revision of a checkout, None for an installed package."""
    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists():
        return None
    words = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    try:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def numbers(figure: Figure) -> str:
    """Return all numbers that a figure shows, with six digits, as text that a file can hold."""
    given = {name: frame.to_csv(float_format="%.6g") for name, frame in tables(figure).items()}
    zipped = gzip.compress(json.dumps(given, sort_keys=True).encode(), mtime=0)
    return base64.b64encode(zipped).decode()


def unpacked(text: str) -> dict[str, str]:
    """Return what `numbers` packed: CSV by name of the table."""
    found: dict[str, str] = json.loads(gzip.decompress(base64.b64decode(text)))
    return found


def tables(figure: Figure) -> dict[str, Any]:
    """Return what a figure shows as data frames in long form, by what their file name adds."""
    given = getattr(figure, "tables", {})
    frames = {}
    for name, table in given.items():
        frame = table.to_dataframe().dropna(subset=list(table.data_vars), how="all")
        frames["" if len(given) == 1 else f".{name}"] = frame
    return frames
