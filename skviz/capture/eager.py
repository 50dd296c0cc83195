"""Run compiled models eagerly for a while: compiled code calls no hooks and enters no modes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_lock = threading.Lock()
_open: list[Any] = []  # one entry per open context; the first holds what to restore


@contextmanager
def eager() -> Iterator[None]:
    """Ignore ``torch.compile`` until the last such context, of whatever thread, is left."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and importing it takes seconds
        yield
        return
    with _lock:
        _open.append(None if _open else torch.compiler.set_stance("force_eager"))
    try:
        yield
    finally:
        with _lock:
            first = _open[0]
            _open.pop()
            if not _open:
                first.__exit__(None, None, None)
