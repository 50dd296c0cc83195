"""Factors crossed: every cell is drawn and measured as it is said to be."""

import copy

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image
from torch import nn

import skviz
from skviz import stats
from skviz.errors import DataError, SkvizError
from skviz.scenes.crossed import Cell, drawn
from skviz.scenes.source import Scenes


@pytest.fixture(scope="module")
def scenes(few) -> Scenes:
    return skviz.place(few, canvas=32)


def cell(ds, **levels):
    """Of the cells, the one that has these levels, and 1 (or False) of the others."""
    wanted = {"copies": 1, "blur": 1, "background": 1, "scattered": 0} | levels
    (place,) = np.flatnonzero(np.all([ds[k].values == v for k, v in wanted.items()], 0))
    return ds.isel(cell=place)


def test_cells_are_what_a_sweep_of_such_pictures_measures(small_net, scenes):
    ds = skviz.factorial(small_net, scenes, progress=False)
    assert ds.sizes == {"network": 1, "image": 5, "cell": 32, "unit": 2}
    plain = stats.attention_difference(skviz.sweep(small_net, scenes, scales=[0.5, 1.0]))
    for size in (0.5, 1.0):
        here = cell(ds, size=size)
        expected = plain.sel(scale=size).transpose("image", "unit")
        np.testing.assert_allclose(here["attention_difference"][0], expected, atol=1e-6)
        covered = scenes.mask(size).mean((1, 2))
        np.testing.assert_allclose(here["coverage"], covered, atol=1e-4)
    # Four copies of half the size, as the control has them that grows to twice its size.
    copies = scenes.changed("copies", [0.5, 1.0]).render(1.0)
    swept = skviz.sweep(small_net, copies)
    np.testing.assert_allclose(
        cell(ds, size=0.5, copies=4)["attention_difference"][0],
        stats.attention_difference(swept).isel(scale=0).transpose("image", "unit"),
        atol=1e-6,
    )
    swept = skviz.sweep(small_net, scenes, scales=[0.5, 1.0])
    for name in ("images_sha256", "model_sha256", "ids_sha256", "scales"):
        assert ds.attrs[name] == swept.attrs[name]


def test_several_networks_see_the_same_pictures(small_net, scenes):
    other = copy.deepcopy(small_net)
    torch.nn.init.normal_(other.stage1[0].sk.select.weight)
    both = skviz.factorial(
        {"one": small_net, "other": other}, scenes, blurs=[1], backgrounds=[1], progress=False
    )
    alone = skviz.factorial(other, scenes, blurs=[1], backgrounds=[1], progress=False)
    assert both["network"].values.tolist() == ["one", "other"]
    values = both["attention_difference"]
    assert np.array_equal(values.sel(network="other"), alone["attention_difference"][0])
    assert not np.allclose(values[0], values[1])
    assert len(set(both.attrs["model_sha256"])) == 2


def test_batches_are_put_together_in_order(small_net, scenes):
    few = {"blurs": [1], "backgrounds": [1], "scattered": [False], "progress": False}
    whole = skviz.factorial(small_net, scenes, **few)
    parts = skviz.factorial(small_net, scenes, batch=2, chunk=3, **few)
    np.testing.assert_allclose(
        whole["attention_difference"], parts["attention_difference"], atol=1e-6
    )
    np.testing.assert_allclose(whole["coverage"], parts["coverage"], atol=1e-7)


def test_it_goes_on_where_it_was_and_another_experiment_is_refused(small_net, scenes, tmp_path):
    few = {"blurs": [1], "backgrounds": [1], "batch": 2, "chunk": 2, "progress": False}
    networks = {"a/b": small_net, "..": copy.deepcopy(small_net)}
    plain = skviz.factorial(networks, scenes, **few)
    kept = skviz.factorial(networks, scenes, store=tmp_path / "f", **few)
    xr.testing.assert_identical(plain.load(), kept.load())
    stores = sorted((tmp_path / "f").iterdir())
    assert [path.name for path in stores] == ["...zarr", "a%2Fb.zarr"]
    assert sorted(tmp_path.iterdir()) == [tmp_path / "f"]
    files = {p: p.read_bytes() for path in stores for p in path.rglob("*") if p.is_file()}
    (stores[1] / "done/c/1").unlink()
    (stores[1] / "weight/c/2/0/0/0").write_bytes(b"")
    again = skviz.factorial(networks, scenes, store=tmp_path / "f", **few)
    xr.testing.assert_identical(again.load(), plain)
    assert files == {p: p.read_bytes() for p in files}
    for other in ({"copies": [1, 9]}, {"sizes": [0.25, 1.0]}, {"scattered": [False]}):
        with pytest.raises(DataError, match="another study"):
            skviz.factorial(networks, scenes, store=tmp_path / "f", **few | other)


def test_objects_of_a_folder_are_crossed_and_broken_files_left_out(small_net, tmp_path):
    """Effects are those of the files that can be read alone."""
    generator = np.random.default_rng(0)
    for name in "abcdef":
        picture = generator.integers(0, 255, (48, 48, 3), np.uint8)
        mask = np.zeros((48, 48), np.uint8)
        mask[14:34, 16:32] = 255
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
        Image.fromarray(mask).save(tmp_path / f"{name}.mask.png")
    whole = skviz.photographs(tmp_path).cut_out(canvas=32)
    rest = whole[[0, 2, 3, 4, 5]]
    few = {"scattered": [False], "progress": False, "batch": 4}
    good = skviz.factorial(small_net, rest, **few)
    assert bool((good["coverage"] > 0).all())
    (tmp_path / "b.png").write_text("no picture")
    with pytest.raises(DataError, match=r"b\.png"):
        skviz.factorial(small_net, whole, **few)
    ds = skviz.factorial(small_net, whole, on_error="skip", **few)
    assert [bool(said) for said in ds["problem"].values] == [False, True, *[False] * 4]
    assert ds["attention_difference"].isel(image=1).isnull().all()
    effects, expected = (stats.main_effects(each) for each in (ds, good))
    np.testing.assert_allclose(effects["estimate"], expected["estimate"], atol=1e-5)
    assert effects.attrs["images"] == 5


def test_units_of_other_names_are_not_put_beside_each_other(small_net, scenes):
    other = nn.Sequential(copy.deepcopy(small_net))
    few = {"blurs": [1], "backgrounds": [1], "scattered": [False], "progress": False}
    with pytest.raises(SkvizError, match="other names"):
        skviz.factorial({"one": small_net, "other": other}, scenes, **few)


def test_cells_that_cannot_exist_are_named(small_net, scenes):
    few = {"blurs": [1], "backgrounds": [1], "scattered": [False], "progress": False}
    ds = skviz.factorial(small_net, scenes, sizes=[0.5, 2.0], **few)
    assert ds.sizes["cell"] == 3
    (missing,) = ds.attrs["impossible"]
    assert missing == repr(Cell(size=2.0, copies=4, blur=1, background=1))
    with pytest.raises(SkvizError, match="no cell can exist"):
        skviz.factorial(small_net, scenes, sizes=[2.0], copies=[4], **few)


def test_a_photograph_has_a_size_and_a_blur_alone(small_net):
    photographs = skviz.photographs().zoom(canvas=32)
    ds = skviz.factorial(small_net, photographs, progress=False)
    assert sorted(set(ds["size"].values)) == [1, 2]
    assert set(ds["copies"].values) == {1}
    assert ds["coverage"].isnull().all()
    swept = stats.attention_difference(skviz.sweep(small_net, photographs, scales=[2.0]))
    np.testing.assert_allclose(
        cell(ds, size=2.0)["attention_difference"][0],
        swept.isel(scale=0).transpose("image", "unit"),
        atol=1e-6,
    )


def test_blur_lowers_the_cut_off_by_its_factor(scenes):
    """As Pillow does that halves a picture and enlarges it again."""
    sharp, soft = (drawn(scenes.ready(), Cell(1.0, blur=blur)) for blur in (1.0, 2.0))
    assert torch.equal(sharp, scenes.render(1.0))
    for before, after in zip(sharp, soft, strict=True):
        picture = Image.fromarray((255 * before[0]).numpy())
        small = picture.resize((16, 16), Image.Resampling.BICUBIC)
        expected = np.asarray(small.resize((32, 32), Image.Resampling.BICUBIC)).clip(0, 255) / 255
        np.testing.assert_allclose(after[0], expected, atol=0.02)


def test_the_background_is_enlarged_and_the_object_is_not(scenes):
    near, far = (drawn(scenes.ready(), Cell(1.0, background=b)) for b in (1.0, 2.0))
    solid = (scenes.mask(1.0) > 0.999)[:, None].expand_as(near)
    torch.testing.assert_close(near[solid], far[solid], atol=1e-3, rtol=0)
    assert float((near - far)[~solid].abs().mean()) > 0.01


def test_a_twin_needs_its_branches_said(scenes):
    twin = skviz.models.nn.SKNet((1,), (8,), num_classes=3, groups=1, kernels=(3, 3)).eval()
    few = {"blurs": [1], "backgrounds": [1], "scattered": [False], "progress": False}
    with pytest.raises(SkvizError, match="kernel"):
        skviz.factorial(twin, scenes, **few)
    forth = skviz.factorial(twin, scenes, branches=(1, 0), **few)["attention_difference"]
    back = skviz.factorial(twin, scenes, branches=(0, 1), **few)["attention_difference"]
    assert np.array_equal(forth, -back)
