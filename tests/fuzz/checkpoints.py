"""Files of networks: cut, changed, pickled, full of holes, or not what their header says."""

import json
import os
import pickle
import random
import resource
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

import skviz
from skviz.models import zoo
from skviz.models.nn import SKNet
from tests.fuzz.judge import Case

NETWORK = {
    "depths": [1, 1], "widths": [4, 8], "stem_channels": 4, "stem_stride": 2, "groups": 2,
    "kernels": [3, 5],
}  # fmt: skip
HUGE = (10**9, 10**5, 10**12, 2**63, -1, 0, 1.5, True, None, "3", "x" * 300, [], {}, [[]], 1e308)
MEMORY = 2**31  # more than the process has now


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def whole(path: Path) -> SKNet:
    """Write a small network."""
    torch.manual_seed(0)
    model = SKNet(**NETWORK, num_classes=2).eval()
    zoo.save(model, zoo.Card("small", NETWORK, ("cat", "dog"), 16), path)
    return model


def parts(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return the header of a file, and the rest."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join(path: Path, header: Any, rest: bytes) -> None:
    """Write a header and the rest."""
    said = json.dumps(header).encode()
    path.write_bytes(len(said).to_bytes(8, "little") + said + rest)


def change(rng: random.Random, path: Path, where: Path) -> bool:
    """Change a file; return whether it may still be the same network."""
    kind = rng.randrange(10)
    content = path.read_bytes()
    if kind == 0:
        path.write_bytes(content[: rng.randrange(len(content))])
    elif kind == 1:
        path.write_bytes(rng.randbytes(rng.choice([0, 7, 8, 300])))
    elif kind == 2:
        torch.save({"model": Trap(where), **({"a": torch.ones(2)} if rng.random() < 0.5 else {})},
                   path)  # fmt: skip
    elif kind == 3:
        path.write_bytes(pickle.dumps(Trap(where), protocol=rng.randrange(6)))
    elif kind == 4:
        with path.open("r+b") as file:  # a file with a hole of 20 GB
            file.truncate(20 * 10**9)
    elif kind == 5:
        changed = bytearray(content)
        changed[rng.randrange(len(parts(path)[0]) + 200)] = rng.randrange(256)
        path.write_bytes(changed)
        return True
    else:
        header, rest = parts(path)
        card = json.loads(header["__metadata__"]["skviz"])
        if kind == 6:
            key = rng.choice([*NETWORK, "num_classes", "reduction", "L", "other", "x" * 300])
            card["network"][key] = rng.choice([*HUGE, [10**5] * 2, [10**9, 1], [1] * 10**5])
        elif kind == 7:
            key = rng.choice(["name", "categories", "canvas", "network", "training", "y" * 300])
            card[key] = rng.choice([*HUGE, ["a"] * 2, ["cat"], ["cat", 3], list("abc")])
        elif kind == 8:
            key = rng.choice([key for key in header if key != "__metadata__"])
            header[key] = rng.choice(
                [{}, None, {**header[key], "dtype": rng.choice(["F64", "F16", "I8", "X"])},
                 {**header[key], "shape": rng.choice([[1], [10**9, 10**9], [-1], ["a"]])},
                 {**header[key], "data_offsets": rng.choice([[0, 1], [9, 1], [0, 10**12]])}]
            )  # fmt: skip
        else:
            key = rng.choice([key for key in header if key != "__metadata__"])
            new = rng.choice(["", "z" * 300, "stem.x", "\x1b[2J"])
            header = {new if each == key else each: held for each, held in header.items()}
        header["__metadata__"]["skviz"] = json.dumps(card)
        join(path, header, rest)
        return kind in (6, 7)
    return False


def load(path: Path, trap: Path) -> Any:
    """Load a file with not much more memory than there is."""
    held = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, held[1]))
    try:
        return skviz.load(path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, held)
        if trap.exists():
            raise SystemError("something ran")


def works(answer: Any) -> bool:
    """Whether a network answers, and its card fits it."""
    images = torch.rand(2, 3, 16, 16)
    card = answer.card
    names = len(card.categories) == 2 and all(isinstance(name, str) for name in card.categories)
    fits = type(card.canvas) is int and card.canvas > 0 and names
    with torch.inference_mode():
        found = answer(images)
    return fits and found.shape == (2, 2) and bool(torch.isfinite(found).all())


def same(model: SKNet, answer: Any) -> bool:
    """Whether a network is the one that was written."""
    images = torch.rand(2, 3, 16, 16)
    with torch.inference_mode():
        return works(answer) and bool(torch.equal(answer(images), model(images)))


def cases(seed: int, count: int, folder: Path) -> Iterator[Case]:
    """List cases."""
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        path, trap = folder / f"{number}.safetensors", folder / f"{number}.ran"
        model = whole(path)
        if number % 20 == 0:
            act = partial(load, path, trap)
            yield Case("whole", act, partial(same, model), refusable=False)
            continue
        name = f"changed {number}"
        may = change(rng, path, trap)
        yield Case(name, partial(load, path, trap), works if may else None)
        path.unlink()
