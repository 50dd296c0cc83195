"""The public names and their signatures, as text: ``python -m tests.api`` keeps them."""

import inspect
from pathlib import Path

import skviz

KEPT = Path(__file__).with_name("api.txt")


def described(name: str) -> str:
    """One line for one public name."""
    found = getattr(skviz, name)
    if inspect.ismodule(found) or isinstance(found, str):
        return f"{name}: {type(found).__name__}"
    if inspect.isclass(found) and issubclass(found, Exception):
        return f"{name}: exception"
    return f"{name}{inspect.signature(found)}"


def listed() -> str:
    """All of them, sorted."""
    return "\n".join(described(name) for name in sorted(skviz.__all__)) + "\n"


if __name__ == "__main__":
    KEPT.write_text(listed(), encoding="utf-8")
