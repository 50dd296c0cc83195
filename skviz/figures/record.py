"""What a figure's file says about its origin; read without drawing anything."""

from __future__ import annotations

import json
import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from skviz.errors import DataError

MARK = "%skviz: "  # begins each line of provenance in formats that have comments only
DESCRIPTION = "{http://purl.org/dc/elements/1.1/}description"


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
            from PIL import Image

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
