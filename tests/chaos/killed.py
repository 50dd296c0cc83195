"""Sweep into a store in processes that are killed at random moments; say what each left.

python -m tests.chaos.killed FOLDER KILLS
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from skviz.models.nn import SKNet
from skviz.scenes.cutouts import objects, place
from skviz.scenes.source import Scenes
from skviz.studies.disk import Disk
from skviz.studies.sweeps import sweep

WRITE = Disk.write


def material() -> tuple[SKNet, Scenes]:
    """Make a small network and 45 scenes."""
    torch.manual_seed(0)
    model = SKNet((1, 1), (8, 16), stem_channels=8, stem_stride=2, groups=2, num_classes=7)
    return model, place(objects(family="fxemoji")[:45], canvas=32)


def work(path: Path, log: Path) -> None:
    """Do the study, or what is left of it, writing down each task that is computed."""
    model, source = material()

    def noted(disk, task, *arrays):
        with log.open("a") as file:
            file.write(f"{task}\n")
        time.sleep(0.02)  # so that moments between computing and writing are hit too
        WRITE(disk, task, *arrays)

    Disk.write = noted
    sweep(
        model, source, scales=[0.5, 1.0, 2.0], batch=2, chunk=3, channels=True, store=path,
        progress=False, device="cpu",
    )  # fmt: skip


def attempt(path: Path, log: Path, delay: float | None) -> dict[str, object]:
    """Run `work` in a process of its own, kill it after `delay` seconds, and look."""
    log.write_text("")
    start = time.monotonic()
    child = os.fork()
    if not child:
        work(path, log)
        os._exit(0)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return {
        "store": path.name,
        "killed": os.WIFSIGNALED(status),
        "failed": os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0,
        "computed": [int(line) for line in log.read_text().split()],
        "left": Disk(path).pending() if path.exists() else None,  # None: not created yet
        "seconds": time.monotonic() - start,
    }


def main(folder: Path, kills: int) -> None:
    """Print the attempts as JSON: one undisturbed, then those killed and those to the end."""
    torch.set_num_threads(1)
    log = folder / "log"
    work(folder / "whole.zarr", log)  # in this process, so that the children need not import
    attempts = [attempt(folder / "once.zarr", log, None)]
    whole, moments = float(attempts[0]["seconds"]), random.Random(0)
    rounds = 0
    while sum(bool(a["killed"]) for a in attempts) < kills:
        path = folder / f"parts{rounds}.zarr"
        attempts.append(attempt(path, log, moments.uniform(0, 0.6 * whole)))
        rounds += attempts[-1]["left"] == []
    attempts.append(attempt(folder / f"parts{rounds}.zarr", log, None))
    print(json.dumps(attempts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
