"""Where a figure comes from: written into its file, and read back."""

import inspect
import json
import os
import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from PIL import Image

from skviz import stats
from skviz.errors import DataError

__all__ = ["collect", "comment", "read"]

MARK = "%skviz: "  # begins each line of provenance in formats that have comments only
DESCRIPTION = "{http://purl.org/dc/elements/1.1/}description"
NAMELESS = ("skviz", "figure", "parameters", "seed", "protocol", "images", "images_sha256", "scales")


def collect(figure: Figure, *, anonymous: bool = False) -> str:
    """Describe what a figure was made from and how, as JSON: no time, no user, no path.

    Parameters
    ----------
    figure
        From ``skviz.plot`; of any other figure only the version and revision are known.
    anonymous
        Leave out what could name the author: the revision and the network.
    """
    known: dict[str, Any] = {"skviz": version("skviz"), "revision": revision()}
    again = getattr(figure, "again", None)
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
                known["parts"] = [json.loads(collect(part, anonymous=anonymous)) for part in value]
    kept = {k: v for k, v in known.items() if v is not None}
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


def comment(text: str) -> str:
    """Return provenance as comment lines of PostScript and TeX (of at most 255 characters)."""
    return "".join(f"{MARK}{text[i : i + 200]}\n" for i in range(0, len(text), 200))


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the provenance that `skviz.save_figure` wrote into a file.

    Raises
    ------
    DataError
        If the file cannot be read or holds none.
    """
    path = Path(path)
    try:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                text = str(picture.info.get("Description"))
        elif path.suffix == ".svg":
            text = str(ET.parse(path).getroot().findtext(f".//{DESCRIPTION}"))
        elif path.suffix == ".pdf":
            found = re.search(rb"/Keywords \(((?:\\.|[^\\)])*)\)", path.read_bytes(), re.DOTALL)
            text = re.sub(rb"\\(.)", rb"\1", found[1]).decode() if found else ""
        else:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            text = "".join(line.removeprefix(MARK) for line in lines if line.startswith(MARK))
        known: dict[str, Any] = json.loads(text)
    except (OSError, ValueError, ET.ParseError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "none found"
        raise DataError(f"{path} holds no provenance of skviz ({reason})") from error
    return known
