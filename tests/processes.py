"""Train a tiny network, in as many processes as torchrun starts.

torchrun -m tests.processes FOLDER
"""

import shutil
import sys
from contextlib import nullcontext, suppress
from pathlib import Path

from recipes import train, train_objects

TINY = train_objects.Recipe(
    name="tiny",
    network={
        "depths": [1, 1],
        "widths": [8, 16],
        "stem_channels": 8,
        "stem_stride": 2,
        "groups": 2,
    },
    steps=6,
    batch=4,
    canvas=32,
    learning_rate=1e-3,
)


def main(folder: Path) -> None:
    """Train at one go; then once more, stopped before the fourth step and resumed."""
    train.CHECKPOINT_EVERY = 2

    def run(name: str) -> None:
        train.train(TINY, folder / name, where="cpu", bfloat16=False, progress=False)

    scenes = train_objects.training_scenes

    def stopping(studio, step, share):
        if step == 3:
            raise KeyboardInterrupt
        return scenes(studio, step, share)

    with train.together("cpu") as on:  # once for all: processes cannot join a second time
        train.together = lambda _: nullcontext(on)
        run("whole")
        train_objects.training_scenes = stopping
        with suppress(KeyboardInterrupt):
            run("parts")
        train_objects.training_scenes = scenes
        if train.world()[0] == 0:
            shutil.copy(folder / "parts" / "log.jsonl", folder / "stopped.jsonl")
        run("parts")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
