"""How the work of a study is cut: into batches, which are made ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from skviz.scenes.source import Scenes

AHEAD = 2  # batches of scenes that wait, ready, for the model
PIXELS = 2**17  # of a batch on a CPU: 64 of 32², 8 of 96², 2 of 224²


def ahead(jobs: Iterable[Callable[[], Any]]) -> Generator[Any]:
    """Do the jobs one after the other in a thread, a few before their results are asked for."""
    waiting: deque[Future[Any]] = deque()
    pool = ThreadPoolExecutor(1)
    try:
        for job in jobs:
            waiting.append(pool.submit(job))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def batch_size(scenes: Scenes, device: torch.device) -> int:
    """Return how many scenes go through a model at once, a power of two."""
    if device.type != "cpu":
        return 32
    fit = PIXELS // scenes.canvas**2
    return 2 ** int(np.log2(np.clip(fit, 1, 64)))
