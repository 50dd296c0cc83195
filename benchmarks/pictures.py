"""What reading pictures costs: time, and memory above that of the model, of a sweep over a folder.

``python benchmarks/pictures.py [--megapixels 36] [--pictures 16] [--form jpg]`` writes pictures of
noise, sweeps them with the shipped network, and prints the most that the process had of memory
beyond what it had after a sweep over one small picture. It is to stay below 500 MB for any picture
that is allowed.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import skviz


def peak() -> float:
    """Return the most memory that this process had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def write(path: Path, megapixels: float, seed: int) -> None:
    """Write a picture of 3:2, noise in blocks of 8."""
    wide, high = round((megapixels * 1.5e6) ** 0.5), round((megapixels / 1.5e-6) ** 0.5)
    noise = np.random.default_rng(seed).integers(0, 256, (high // 8, wide // 8, 3), np.uint8)
    picture = Image.fromarray(noise).resize((wide, high), Image.Resampling.NEAREST)
    picture.save(path, quality=90, compress_level=1)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--megapixels", type=float, default=36.0)
    words.add_argument("--pictures", type=int, default=16)
    words.add_argument("--form", default="jpg")
    given = words.parse_args()
    from multiprocessing import get_context

    model = skviz.load("objects")
    with tempfile.TemporaryDirectory() as folder:
        for name, size, count in (("small", 0.1, 1), ("large", given.megapixels, given.pictures)):
            Path(folder, name).mkdir()
            for number in range(count):
                path = Path(folder, name, f"{number}.{given.form}")
                writer = get_context("spawn").Process(target=write, args=(path, size, number))
                writer.start()  # whose memory is not ours
                writer.join()
        skviz.sweep(model, Path(folder, "small"), progress=False)
        before, begun = peak(), time.perf_counter()
        skviz.sweep(model, Path(folder, "large"), progress=False)
        seconds = time.perf_counter() - begun
    print(
        f"{given.pictures} {given.form} of {given.megapixels:g} megapixels: {seconds:.1f} s, "
        f"{peak() - before:.0f} MB above the {before:.0f} MB of the model"
    )


if __name__ == "__main__":
    main()
