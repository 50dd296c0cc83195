"""Files of all kinds, masks and folders, where pictures are taken."""

import io
import os
import random
import socket
import struct
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

import skviz
from tests.fuzz.judge import Case

FORMATS = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "jpg": ("L", "RGB", "CMYK"),
    "bmp": ("1", "L", "P", "RGB"),
    "gif": ("L", "P"),
    "tif": ("1", "L", "RGB", "RGBA", "CMYK"),
    "webp": ("RGB", "RGBA"),
}
NAMES = ("a", "ä ö", "\x1b[31m", "a\nb", "x" * 240, "\udcff", "\u202egpj", "=1+1", "%s{0}", "-rf")


def drawn(rng: random.Random, mode: str) -> Image.Image:
    """Noise in a mode of Pillow."""
    wide, high = rng.randint(1, 40), rng.randint(1, 40)
    noise = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (high, wide, 4), np.uint8)
    return (
        Image.fromarray(noise, "RGBA")
        .convert("RGB" if mode in ("P", "CMYK") else mode)
        .convert(mode)
    )


def encoded(rng: random.Random) -> tuple[str, bytes]:
    """Return a whole file, and its ending."""
    kind = rng.choice(list(FORMATS))
    file = io.BytesIO()
    drawn(rng, rng.choice(FORMATS[kind])).save(file, {"jpg": "JPEG", "tif": "TIFF"}.get(kind, kind))
    return kind, file.getvalue()


def reference(path: Path) -> np.ndarray:
    """Read a file by Pillow and NumPy alone: (H, W, 3) in 0…1, on white."""
    with Image.open(path) as opened:
        picture = ImageOps.exif_transpose(opened)
        rgba = np.asarray(picture.convert("RGBA"), np.float64) / 255
    return rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]


def same(path: Path, answer: Any) -> bool:
    """Whether a picture is what Pillow sees."""
    found, expected = answer.permute(1, 2, 0).numpy(), reference(path)
    if found.shape != expected.shape:  # halved
        return expected[..., 0].size > 2**23 > found[..., 0].size
    return bool(np.abs(found - expected).max() < 0.01)


def read(path: Path) -> Any:
    """Take a file, also in a folder, and look at it."""
    return skviz.photographs(path).pictures[0]


def shown(source: Any, masks: Any = None) -> Any:
    """Show a model the pictures."""
    made = skviz.photographs(source, masks=masks).shown(canvas=8)
    return made.ready("cpu", [1.0]).render(1.0)


def framed(count: int, answer: Any) -> bool:
    """Whether so many pictures are there, in 0…1."""
    return answer.shape == (count, 3, 8, 8) and 0 <= answer.min() <= answer.max() <= 1


def bomb(wide: int, high: int) -> bytes:
    """Return a PNG that says it is large."""
    head = struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def odd(rng: random.Random, path: Path) -> None:
    """Put something at a path that is no picture."""
    kind = rng.randrange(9)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.mkdir()
    elif kind == 2:
        path.symlink_to(rng.choice(["/dev/zero", "/dev/null", "nowhere", path.name]))
    elif kind == 3 and len(str(path)) < 100:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
    elif kind == 4:
        path.write_bytes(bomb(rng.choice([20_000, 2**31 - 1]), 2**16))
    elif kind == 5:
        path.write_bytes(bomb(100, 0))
    elif kind == 6:
        path.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    else:
        path.write_bytes(rng.randbytes(rng.choice([0, 1, 500])))


def in_folder(rng: random.Random, folder: Path) -> Case:
    """Whole pictures, and something odd among them, in a folder."""
    folder.mkdir()
    inside = folder / rng.choice(["", "horse", "images", "a\x1b]0;x"])
    inside.mkdir(exist_ok=True)
    count = rng.randint(1, 3)
    for number in range(count):
        kind, content = encoded(rng)
        (inside / f"{number}.{kind}").write_bytes(content)
    trap = rng.randrange(4)
    if trap == 0:
        (inside / "0.jpg.jpg").mkdir()
    elif trap == 1:
        os.mkfifo(inside / "x.jpg")
    elif trap == 2:
        (inside / "9.MASK.PNG").write_bytes(bomb(4, 4))
    plain = inside.name != "images" and trap in (0, 3)
    return Case(
        f"folder {inside.name!r} with trap {trap}", partial(shown, folder),
        partial(framed, count) if plain or trap == 1 else None, refusable=not plain,
    )  # fmt: skip


def masked(rng: random.Random) -> Case:
    """A picture and a mask as arrays."""
    picture = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(rng.getrandbits(30)))
    mask = np.zeros((12, 12), rng.choice([np.uint8, np.float32, bool, np.int64, np.uint16, object]))
    how = rng.randrange(6)
    if how:
        mask[3:9, 3:9] = 1
    if how == 2:
        mask = mask[:5]
    if how == 3:
        mask = mask[None, None]
    if how == 4:
        mask = mask[..., None].repeat(4, -1)
    if mask.dtype == object:
        how = 0
    given = rng.choice([torch.from_numpy, np.asarray])(mask) if mask.dtype != object else mask
    right = partial(framed, 1) if how in (1, 3, 4, 5) else None
    sharp = how in (1, 5)
    return Case(
        f"mask {how} {mask.dtype}", partial(shown, {"a": picture}, {"a": given}), right, not sharp
    )


def cases(seed: int, count: int, folder: Path) -> Iterator[Case]:
    """List cases."""
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        place = folder / str(number)
        way = rng.randrange(10)
        if way == 0:
            yield in_folder(rng, place)
            continue
        if way == 1:
            yield masked(rng)
            continue
        place.mkdir()
        kind, content = encoded(rng)
        path = place / f"{rng.choice(NAMES)}.{kind}"
        if way < 4:
            odd(rng, path)
            yield Case(f"odd file {path.name!r}", partial(read, path))
        elif way < 6:
            path.write_bytes(content)
            yield Case(f"whole {kind}", partial(read, path), partial(same, path), refusable=False)
        elif way < 8:
            changed = bytearray(content)
            for _ in range(rng.randint(1, 6)):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            path.write_bytes(changed)
            yield Case(f"changed {kind}", partial(read, path), partial(same, path))
        else:
            path.write_bytes(content[: rng.randrange(len(content))])
            yield Case(f"cut {kind}", partial(read, path), partial(same, path))
