"""What the parts of a large study cost: the figures of `docs/scaling.md`.

    python benchmarks/scaling.py

Photographs are made of seeded noise, so nothing has to be fetched; one thread, on an idle machine.
Times are medians of several runs; memory is the peak of a process of its own.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import skviz
from skviz.models.device import memory_kept
from skviz.scenes.source import Scenes
from skviz.studies import disk

SCALES = [1.0, 1.25, 1.5, 2.0]
NCHW = torch.contiguous_format
MEMORY = """
import sys, torch
sys.path.insert(0, {folder!r})
import scaling
torch.set_num_threads(1)
before = scaling.peak()
scaling.study(scaling.photographs({count}, {side}), channels=True)
print(f"{{scaling.peak()}} MiB, {{scaling.peak() - before}} more than before")
"""


def peak() -> int:
    """Return the most memory that this process ever held, in MiB."""
    status = Path("/proc/self/status").read_text()  # getrusage would count the parent's before exec
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) // 1024


def seconds(action: Callable[[], object], runs: int = 5) -> float:
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


class Noise(torch.utils.data.Dataset):
    """Photographs of noise, made when they are asked for."""

    def __init__(self, count: int, side: int) -> None:
        self.side, self.classes, self.targets = side, ["noise"], [0] * count

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(index)
        shape = (3, self.side, self.side)
        return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


def photographs(count: int, side: int) -> Scenes:
    return skviz.photographs(Noise(count, side)).zoom()


def study(source: Scenes, **options: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        skviz.sweep(
            skviz.load("objects"), source, scales=SCALES, store=Path(folder) / "s.zarr",
            device="cpu", progress=False, **options,
        )  # fmt: skip


def bare(side: int = 96, batch: int = 64, layout: torch.memory_format = NCHW) -> float:
    """Return the images per second of the shipped model on ready tensors."""
    network = skviz.load("objects").to(memory_format=layout)
    images = torch.rand(batch, 3, side, side).to(memory_format=layout)
    with torch.inference_mode():
        network(images)
        return 256 / seconds(lambda: [network(images) for _ in range(256 // batch)], 3)


def photographs_of_96() -> None:
    rates = {
        (batch, layout): bare(batch=batch, layout=layout)
        for batch in (1, 8, 16, 64)
        for layout in (NCHW, torch.channels_last)
    }
    for (batch, layout), found in rates.items():
        print(f"objects forward, 96², batches of {batch}, {layout}: {1000 / found:.2f} ms")
    rate = max(rates.values())
    scene = photographs(64, 96).loaded()
    print(f"rendering 96² at one zoom: {1000 * seconds(lambda: scene.render(1.5)) / 64:.2f} ms")
    count = 1024
    taken = seconds(lambda: study(photographs(count, 96), chunk=512), 3)
    print(f"study of {count} × {len(SCALES)}: {taken:.1f} s, "
          f"{count * len(SCALES) / taken / rate:.2f} of the bare model at its fastest")  # fmt: skip


def files(folder: Path) -> None:
    (folder / "x").mkdir()
    for index in range(32):
        coarse = np.random.default_rng(index).integers(0, 255, (24, 32, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)
        picture.save(folder / f"x/{index}.jpg", quality=90)
    source = skviz.photographs(folder).zoom(canvas=224)
    decode = seconds(lambda: [source.source.reader.read(index) for index in range(32)]) / 32
    scenes = source.loaded()
    render = seconds(lambda: scenes.render(1.5)) / 32
    print(f"JPEG of 500×375: decoding {1000 * decode:.1f} ms, rendering {1000 * render:.1f} ms")


def chunks() -> None:
    taken: list[float] = []
    write = disk.Disk.write

    def timed(*arguments: object) -> None:
        taken.append(seconds(lambda: write(*arguments), 1))

    disk.Disk.write = timed
    for channels in (False, True):
        taken.clear()
        study(photographs(512, 96), chunk=128, channels=channels)
        print(f"writing 128 images × {len(SCALES)}, channels {channels}: "
              f"{statistics.median(taken):.3f} s")  # fmt: skip
    disk.Disk.write = write


def memory(count: int, side: int) -> None:
    code = MEMORY.format(folder=str(Path(__file__).parent), count=count, side=side)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    print(f"peak memory, {count} photographs of {side}²: {done.stdout.strip()}")


def kept() -> float:
    with memory_kept():
        return bare()


def dask() -> None:
    from distributed import Client, LocalCluster

    one = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**one) as workers, Client(workers) as client:
        empty = seconds(lambda: client.gather(client.map(abs, range(500), pure=False)), 3) / 500
        print(f"Dask, one empty task: {1000 * empty:.1f} ms")
        rates = [client.submit(way, pure=False).result() for way in (bare, kept)]
        print("objects, scenes of 96² a second on a worker: {:.0f}, keeping its memory {:.0f}"
              .format(*rates))  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    photographs_of_96()
    with tempfile.TemporaryDirectory() as folder:
        files(Path(folder))
    chunks()
    for count, side in ((500, 96), (4000, 96), (64, 2000)):
        memory(count, side)
    dask()
