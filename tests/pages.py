"""The code on pages: run as a reader would, from top to bottom."""

import re
from pathlib import Path


def blocks(path: Path, language: str) -> list[str]:
    """The blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def run(path: Path) -> dict[str, object]:
    """Run the Python of a page; return the names that it leaves."""
    names: dict[str, object] = {}
    for block in blocks(path, "python"):
        exec(compile(block, path.name, "exec"), names)
    return names
