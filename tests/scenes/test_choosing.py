"""All things with names are chosen from in the same way."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import skviz
from skviz.errors import DataError, SkvizError
from skviz.scenes.changes import CONTROL_SCENES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures of two classes, with masks."""
    generator = np.random.default_rng(0)
    mask = np.zeros((40, 50), np.uint8)
    mask[12:28, 15:35] = 255
    for name in ("cat/a", "cat/b", "dog/c", "dog/d"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (40, 50, 3), np.uint8)).save(path)
        Image.fromarray(mask).save(path.with_suffix(".mask.png"))
    return tmp_path


@pytest.fixture(params=["objects", "placed", "photographs", "zoomed", "cut out", "control"])
def things(request: pytest.FixtureRequest, folder: Path) -> Any:
    """Four things of two categories, of every kind."""
    four = skviz.objects(category=["bus", "bell"], family=["noto", "fluent"])
    found = skviz.photographs(folder)
    return {
        "objects": lambda: four,
        "placed": lambda: skviz.place(four, canvas=32),
        "photographs": lambda: found,
        "zoomed": lambda: found.zoom(canvas=32),
        "cut out": lambda: found.cut_out(canvas=32),
        "control": lambda: found.cut_out(canvas=32).changed("blur", [0.5, 1.0]),
    }[request.param]()


def test_one_several_a_slice_a_name(things: Any) -> None:
    assert len(things) == 4
    assert things[1].ids == things[[1]].ids == things[1:2].ids == things[things.ids[1]].ids
    assert things[-1].ids == (things.ids[3],)
    assert things[[2, 0]].ids == (things.ids[2], things.ids[0])
    assert things[np.array([2, 0])].category == (things.category[2], things.category[0])
    assert things[::2].ids == things.ids[::2]
    assert [one.ids for one in things] == [(name,) for name in things.ids]
    for wrong in (4, "unicorn", [0, 9]):
        with pytest.raises(DataError, match=r"there (is|are)"):
            things[wrong]


def test_where(things: Any) -> None:
    category = things.category[3]
    some = things.where(category=category)
    assert 0 < len(some) < 4
    assert set(some.category) == {category}
    with pytest.raises(DataError, match="unicorn"):
        things.where(category="unicorn")


def test_what_is_chosen_is_what_is_shown(things: Any) -> None:
    if hasattr(things, "render"):
        whole = things.render(1.0)
        # In float32 the last bits depend on how many are drawn together.
        torch.testing.assert_close(things[[3, 1]].render(1.0), whole[[3, 1]], atol=1e-5, rtol=0)
        assert (things[[3, 1]].content == things.content[[3, 1]]).all()
    elif hasattr(things, "rgba"):
        assert torch.equal(things[[3, 1]].rgba, things.rgba[[3, 1]])
    else:
        assert torch.equal(things[[3, 1]].pictures[1], things.pictures[1])


def test_short_to_look_at(things: Any) -> None:
    assert len(repr(things)) < 120
    assert things.ids[0] in repr(things)
    assert len(repr(skviz.objects())) < 120


@pytest.mark.parametrize("name", CONTROL_SCENES)
def test_a_folder_with_masks_has_controls_like_objects_have(folder: Path, name: str) -> None:
    scenes = skviz.photographs(folder).cut_out(canvas=32)
    control = scenes.changed(name, [0.5, 1.0])
    at_once = control.ready("cpu", [0.5, 1.0])  # file after file
    for scale in (0.5, 1.0):
        in_memory = scenes.loaded().changed(name, [0.5, 1.0]).render(scale)
        torch.testing.assert_close(at_once.render(scale), in_memory, atol=1e-5, rtol=0)
    differ = [(at_once.render(s) - scenes.render(s)).abs().max() for s in (0.5, 1.0)]
    assert max(differ) > 0.05


def test_a_tensor_or_list_or_single_picture_is_taken(folder: Path) -> None:
    files = sorted(folder.glob("*/?.png"))
    tensors = torch.rand(2, 3, 40, 50)
    for given, ids in (
        (files[0], (files[0].stem,)),
        (Image.fromarray(np.zeros((9, 9, 3), np.uint8)), ("picture",)),
        (tensors, ("000000", "000001")),
        (list(tensors), ("000000", "000001")),
        (dict(zip("ab", tensors, strict=True)), ("a", "b")),
    ):
        assert skviz.photographs(given).ids == ids
    mask = torch.zeros(40, 50, dtype=torch.bool)
    mask[12:28, 15:35] = True
    made = skviz.photographs(tensors, masks=[mask, mask], category="noise").cut_out(canvas=32)
    assert made.category == ("noise", "noise")
    assert made.render(0.9).shape == (2, 3, 32, 32)
    with pytest.raises(DataError, match="expected a folder"):
        skviz.photographs(3)
    with pytest.raises(DataError, match="2 pictures need as many masks, got 1"):
        skviz.photographs(tensors, masks=[mask])


@pytest.mark.parametrize("part", [1.5, None, [True], [1.5], {}, np.zeros((2, 2)), 10**6, "nobody"])
def test_what_chooses_nothing_is_refused(part: Any) -> None:
    with pytest.raises(SkvizError, match=r"part must be|there are|there is none"):
        skviz.objects()[part]
