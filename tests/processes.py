"""Train a tiny network, in as many processes as torchrun starts.

torchrun -m tests.processes RUN STOP
"""

import sys
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


def main(run: Path, stop: int) -> None:
    """Train; die before the step `stop`."""
    scenes = train_objects.training_scenes

    def stopping(studio, step, share):
        if step == stop:
            sys.exit(3)
        return scenes(studio, step, share)

    train_objects.training_scenes = stopping
    train.CHECKPOINT_EVERY = 2
    train.train(TINY, run, where="cpu", bfloat16=False, progress=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
