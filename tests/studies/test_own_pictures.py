"""Pictures of one's own go wherever scenes go, at all scales at which they can be shown."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import skviz
from skviz.errors import SkvizError


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, box in (("bus", 12), ("cat", 20)):
        Image.fromarray(rng.integers(0, 255, (48, 60, 3), np.uint8)).save(tmp_path / f"{name}.png")
        mask = np.zeros((48, 60), np.uint8)
        mask[24 - box : 24 + box, 30 - box : 30 + box] = 255
        Image.fromarray(mask).save(tmp_path / f"{name}.mask.png")
    return tmp_path


def opened(path):
    with Image.open(path) as picture:
        return picture.copy()


def shown(small_net, given, **asked):
    return skviz.sweep(small_net, given, progress=False, device="cpu", **asked)


def test_a_file_with_its_mask_beside_it_is_cut_out_and_without_one_zoomed(small_net, folder):
    model = skviz.wrap(small_net, canvas=32)
    ds = shown(model, folder / "bus.png", scales=[0.5, 1.0])
    assert ds.attrs["protocol"] == "rescale"
    pair = {"bus": (folder / "bus.png", folder / "bus.mask.png")}
    own = shown(model, skviz.photographs(pair).cut_out(canvas=32), scales=[0.5, 1.0])
    np.testing.assert_array_equal(ds["weight"], own["weight"])
    assert ds["image"].values.tolist() == own["image"].values.tolist() == ["bus"]
    (folder / "bus.mask.png").unlink()
    ds = shown(model, str(folder / "bus.png"))
    assert ds.attrs["protocol"] == "zoom"
    assert ds["scale"].values.tolist() == [1.0, 1.25, 1.5, 1.75, 2.0]


@pytest.mark.parametrize("kind", ["folder", "pair", "picture", "array", "photographs"])
def test_every_entrance_takes_what_photographs_takes(small_net, folder, kind):
    picture, mask = (opened(folder / name) for name in ("bus.png", "bus.mask.png"))
    given = {
        "folder": folder,
        "pair": {"bus": (picture, mask)},
        "picture": picture,
        "array": np.asarray(picture),
        "photographs": skviz.photographs(picture, masks=mask),
    }[kind]
    scales = [1.0] if kind in ("picture", "array") else [0.5, 1.0]
    ds = shown(small_net, given, scales=scales, units="stage1.0.sk")
    assert ds.attrs["protocol"] == ("zoom" if kind in ("picture", "array") else "rescale")
    assert ds.sizes["image"] == (2 if kind == "folder" else 1)
    explorer = skviz.explore(small_net, given, scales=[1.0, 1.1], canvas=32)
    assert explorer.wait()
    assert explorer.protocol == ds.attrs["protocol"]
    assert explorer.problem == ""
    explorer.close()
    with pytest.raises(SkvizError, match="expected a folder, a picture, several"):
        shown(small_net, 3.0)


def test_scales_that_some_object_does_not_allow_are_left_out_with_a_word(small_net, folder):
    scenes = skviz.photographs(folder).cut_out(canvas=32)
    with pytest.warns(UserWarning, match=r"scales 1\.25, 1\.5, 1\.75, 2 are left out: .* to 1\.2"):
        ds = shown(small_net, scenes)
    assert ds["scale"].values.tolist() == [0.5, 0.75, 1.0]
    (folder / "ant.png").write_bytes(b"no picture")  # is for the study to tell
    with warnings.catch_warnings(action="ignore"):
        ds = shown(small_net, skviz.photographs(folder).cut_out(canvas=32), on_error="skip")
        with pytest.raises(SkvizError, match="ant"):
            shown(small_net, skviz.photographs(folder).cut_out(canvas=32))
    assert ds["scale"].values.tolist() == [0.5, 0.75, 1.0]
    assert (ds["problem"] != "").sum() == 1
    with warnings.catch_warnings(action="error"):  # what is asked for is asked for
        shown(small_net, scenes, scales=[1.0])
        assert shown(small_net, scenes[:1]).sizes["scale"] > 3


def test_the_figure_of_the_article_takes_the_scales_that_there_are(small_net, folder):
    ds = shown(small_net, skviz.photographs(folder).cut_out(canvas=32), scales=[0.5, 0.7, 1.0])
    figure = skviz.plot.three_scales(ds)
    assert [table["scale"].values.tolist() for table in figure.tables.values()] == 2 * [
        [0.5, 0.7, 1.0]
    ]
    assert "95 %" not in skviz.caption(skviz.plot.three_scales(ds.isel(image=[0])))
    paper = shown(small_net, folder / "bus.png", scales=[0.5, 1.0, 1.5, 2.0])
    held = skviz.plot.three_scales(paper).tables.values()
    assert all(table["scale"].values.tolist() == [1.0, 1.5, 2.0] for table in held)


def test_a_list_of_pictures_is_taken_and_nothing_is_not(small_net, folder):
    files = [folder / "bus.png", folder / "cat.png"]
    assert shown(small_net, files, scales=[1.0])["image"].values.tolist() == ["000000", "000001"]
    for wrong in (None, torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.rand(3, 8, 8)):
        with pytest.raises(SkvizError, match=r"images as floats \(N, 3, H, W\), got"):
            shown(small_net, wrong)
