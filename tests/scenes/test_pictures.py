"""One picture in every form that it comes in is the same scene, or is refused with a reason."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import skviz
from skviz.errors import DataError, SkvizError
from skviz.scenes.pictures import Memory, as_picture

SIDE = 24
BYTES = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
INSIDE = np.zeros((40, 50), bool)
INSIDE[12:28, 15:35] = True


def scene(picture: Any, mask: Any = None) -> torch.Tensor:
    if mask is None:
        return skviz.photographs({"mine": picture}).zoom(canvas=SIDE).render(1.0)
    return skviz.photographs({"mine": (picture, mask)}).cut_out(canvas=SIDE).render(0.8)


def in_every_form(array: np.ndarray) -> dict[str, Any]:
    """The same picture, (H, W, 3) of bytes, as people have it."""
    floats = array.astype(np.float32) / 255
    first = np.ascontiguousarray(array.transpose(2, 0, 1))
    return {
        "PIL": Image.fromarray(array),
        "RGBA": np.dstack([array, np.full(array.shape[:2], 255, np.uint8)]),
        "NumPy (H, W, C)": array,
        "NumPy (C, H, W)": first,
        "torch (C, H, W)": torch.from_numpy(first),
        "torch (H, W, C)": torch.from_numpy(array),
        "float32 in 0…1": torch.from_numpy(first).float() / 255,
        "float64 in 0…1": floats.astype(np.float64),
        "big-endian": floats.astype(">f4"),
        "uint16": array.astype(np.uint16) * 257,
        "a view that is not contiguous": np.dstack([array, array])[..., :3],
        "with a gradient": (torch.from_numpy(first).float() / 255).requires_grad_(),
    }


@pytest.mark.parametrize("form", in_every_form(BYTES))
def test_a_picture_is_the_same_in_every_form(form: str, tmp_path: Path) -> None:
    Image.fromarray(BYTES).save(tmp_path / "mine.png")
    expected = scene(tmp_path / "mine.png")
    torch.testing.assert_close(scene(in_every_form(BYTES)[form]), expected, atol=1e-6, rtol=0)
    assert float(expected.std()) > 0.05  # and it is no blank


def test_grey_pictures_have_three_equal_channels() -> None:
    grey = BYTES[..., 0]
    expected = scene(np.dstack([grey] * 3))
    for form in (grey, grey[..., None], grey[None], Image.fromarray(grey), grey / 255):
        torch.testing.assert_close(scene(form), expected, atol=1e-6, rtol=0)


def test_what_is_transparent_is_shown_on_white() -> None:
    clear = np.dstack([BYTES, np.zeros((40, 50), np.uint8)])
    for form in (clear, Image.fromarray(clear), torch.from_numpy(clear) / 255):
        torch.testing.assert_close(scene(form), torch.ones(1, 3, SIDE, SIDE))


MASKS = {
    "bool": INSIDE,
    "0 and 255": INSIDE.astype(np.uint8) * 255,
    "0 and 1": INSIDE.astype(np.uint8),
    "0 and 1 of int64": torch.from_numpy(INSIDE).long()[None],
    "0 and 1 in (H, W, 1)": INSIDE[..., None].astype(np.int32),
    "floats": INSIDE.astype(np.float32),
    "uint16": INSIDE.astype(np.uint16) * 65535,
    "PIL": Image.fromarray(INSIDE.astype(np.uint8) * 255),
    "PIL of 0 and 1": Image.fromarray(INSIDE.astype(np.uint8)),
    "PIL of one bit": Image.fromarray(INSIDE),
    "grey in three channels": np.dstack([INSIDE.astype(np.uint8) * 255] * 3),
}


@pytest.mark.parametrize("form", MASKS)
def test_a_mask_is_the_same_in_every_form(form: str) -> None:
    expected = scene(BYTES, torch.from_numpy(INSIDE)[None].byte() * 255)
    torch.testing.assert_close(scene(BYTES, MASKS[form]), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (BYTES.astype(np.float32), "0…1, got 0 to 255"),
        (BYTES.astype(np.int64), "no known range"),
        (np.full((40, 50, 3), np.nan), "0…1, got nan"),
        (BYTES / 255 * 2 - 1, "without normalisation"),
        (np.zeros((40, 50, 60), np.uint8), r"1 to 4 channels, got \(40, 50, 60\)"),
        (np.zeros((60, 40, 50), np.uint8), r"1 to 4 channels, got \(60, 40, 50\)"),
        (BYTES[None], "one picture, not a batch"),
        (np.zeros((3, 50, 3), np.uint8), r"as \(C, H, W\) and as \(H, W, C\)"),
        ((BYTES > 99).astype(np.uint8), "holds 0 and 1 only, where 255 is white"),
        (BYTES.astype(complex), "complex128"),
        (Image.fromarray(BYTES[..., 0].astype(np.float32)), "mode 'F'"),
        ([[0, 1]], "got list"),
        (np.zeros((0, 50, 3), np.uint8), "channels, got"),
    ],
)
def test_what_cannot_be_read_in_one_way_is_refused_with_its_name(picture: Any, said: str) -> None:
    with pytest.raises(DataError, match=f"'mine'.*{said}"):
        scene(picture)
    with pytest.raises(DataError, match=f"'mine'.*{said}"):
        scene(picture, INSIDE)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (INSIDE * np.uint8(3), "is empty: its largest value is 0.0118 .*mask == number"),
        (np.zeros((40, 50), np.uint8), "the mask is empty"),
        (INSIDE * np.int64(255), "no known range"),
        (INSIDE * np.nan, "0…1, got nan"),
        (np.dstack([INSIDE * np.uint8(255), *[INSIDE * np.uint8(0)] * 2]), "coloured"),
    ],
)
def test_masks_that_could_mean_two_things_are_refused(mask: Any, said: str) -> None:
    with pytest.raises(DataError, match=f"'mine'.*{said}"):
        scene(BYTES, mask)


def test_a_black_picture_is_black() -> None:
    assert not scene(np.zeros((40, 50, 3), np.uint8)).any()


@pytest.mark.parametrize("wrong", [torch.full((1, 3, 32, 32), 255.0), torch.nan * torch.ones(1)])
def test_backgrounds_beyond_their_range_are_refused(few: Any, wrong: torch.Tensor) -> None:
    with pytest.raises(SkvizError, match="backgrounds must be floats in 0…1"):
        skviz.place(few, canvas=32, backgrounds=wrong.expand(1, 3, 32, 32))


def test_a_network_sees_floats_as_it_sees_bytes(small_net: Any) -> None:
    """As `torchvision.transforms.ToTensor` gives them; swept as black once."""
    forms = in_every_form(BYTES)
    pictures = {name: forms[name] for name in ("PIL", "float32 in 0…1", "uint16")}
    ds = skviz.sweep(
        small_net, skviz.photographs(pictures).zoom(canvas=32), scales=[1.0], device="cpu"
    )
    np.testing.assert_allclose(ds["weight"][1:], ds["weight"][[0, 0]], atol=1e-6)


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("turned", [1, 6])
def test_a_large_picture_is_halved_by_means(tmp_path, kind, turned):
    blocks = np.random.default_rng(0).integers(60, 190, (500, 300, 3), np.uint8)
    values = np.kron(blocks, np.ones((8, 8, 1), np.uint8))  # 4000 × 2400: more than 2²³ pixels
    exif = Image.Exif()
    exif[0x0112] = turned
    Image.fromarray(values).save(tmp_path / f"a.{kind}", exif=exif, quality=98, subsampling=0)
    expected = values.reshape(2000, 2, 1200, 2, 3).mean((1, 3)) / 255
    expected = np.rot90(expected, -1) if turned == 6 else expected
    found = as_picture(tmp_path / f"a.{kind}").permute(1, 2, 0).numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 0.01


def test_pictures_that_are_read_at_once_share_the_memory():
    memory, most, now, lock = Memory(100), [], [], threading.Lock()

    def read(size):
        with memory.within():
            with memory.within():
                memory.take(size)
            with lock:
                now.append(size)
                most.append(sum(now))
            time.sleep(0.002)
            with lock:
                now.remove(size)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, [30, 70, 50, 1000, 20, 60, 90, 10] * 5))
    assert max(size for size in most if size < 1000) <= 100
    assert all(size <= 100 or size == 1000 for size in most)
    assert memory.left == 100


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.jpg")
    with pytest.raises(DataError, match="is no file"):
        as_picture(tmp_path / "x.jpg")


def test_a_mask_in_capitals_is_a_mask(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    Image.new("L", (8, 8), 255).save(tmp_path / "a.MASK.PNG")
    found = skviz.photographs(tmp_path)
    assert found.ids == ("a.png",)
    assert found.masks[0] is not None
