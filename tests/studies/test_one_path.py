"""What is true of one study is true of all: they are one path with several measures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image
from torch import Tensor, nn

import skviz
from skviz.errors import DataError, SkvizError
from skviz.models.nn import SKConv
from skviz.studies.disk import Disk

SCALES = [1.0, 1.5]
QUIET = {"device": "cpu", "progress": False, "scales": SCALES}
LARGER = skviz.target.branch("stage1.0.sk", branch=1)
STUDIES = {
    "sweep": skviz.sweep,
    "effect": lambda model, scenes, **options: skviz.effect(
        model, scenes, {"equal": "uniform", "3×3": skviz.force(kernel=3)}, **options
    ),
    "receptive_field": lambda model, scenes, **options: skviz.receptive_field(
        model, scenes, draws=1, **options
    ),
    "controls": lambda model, scenes, **options: skviz.controls(
        model, scenes, names=(), seeds=1, **options
    ),
    "attribute": lambda model, scenes, **options: skviz.attribute(
        model, scenes, target=["predicted", LARGER], method="saliency", **options
    ),
    "readings": skviz.readings,
    "factorial": lambda model, scenes, scales=(), **options: skviz.factorial(
        model, scenes, sizes=scales, **options
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five photographs, of which the second cannot be read."""
    generator = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for name in "abcde":
        path = tmp_path / f"photos/{name}.png"
        Image.fromarray(generator.integers(0, 255, (40, 50, 3), np.uint8)).save(path)
    (tmp_path / "photos/b.png").write_text("no image")
    return tmp_path / "photos"


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_can_skip_and_every_variable_says_what_it_is(small_net, folder, study):
    scenes = skviz.photographs(folder).zoom(canvas=32)
    with pytest.raises(DataError, match=r"b\.png"):
        STUDIES[study](small_net, scenes, **QUIET)
    ds = STUDIES[study](small_net, scenes, on_error="skip", batch=8, **QUIET)
    good = STUDIES[study](small_net, scenes[[0, 2, 3, 4]], batch=8, **QUIET)
    assert isinstance(ds, xr.Dataset)
    for name, variable in ds.data_vars.items():
        assert variable.attrs.get("long_name"), name
        if variable.dtype.kind == "f" and "image" in variable.dims:
            assert variable.isel(image=1).isnull().all(), name
            rest = variable.isel(image=[0, 2, 3, 4]).values
            np.testing.assert_allclose(rest, good[name].values, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("study", ["sweep", "effect", "receptive_field", "readings", "attribute"])
def test_every_study_goes_on_where_it_was_and_is_the_same_in_memory(
    small_net, few, tmp_path, study
):
    scenes = skviz.place(few, canvas=32)
    options = QUIET | {"batch": 2, "chunk": 2}
    path = tmp_path / "s.zarr"
    plain = STUDIES[study](small_net, scenes, **options)
    kept = STUDIES[study](small_net, scenes, store=path, **options)
    for name in plain.data_vars.keys() & kept.data_vars.keys():
        np.testing.assert_array_equal(kept[name].values, plain[name].values, err_msg=name)
        assert kept[name].dims == plain[name].dims
        assert kept[name].dtype == plain[name].dtype
        assert kept[name].attrs == plain[name].attrs
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    (path / "done/c/1").unlink()
    next(path.glob("content/c/2")).write_bytes(b"")
    assert Disk(path).pending() == [1, 2]
    STUDIES[study](small_net, scenes, store=path, **options)
    assert before == {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}


class Anyone(nn.Module):
    """A network whose modules have the names that somebody's may have."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        for name in names:
            self.add_module(name, SKConv(8, kernels=(3, 5), groups=2))
        self.names = names
        self.fc = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images).relu()
        for name in self.names:
            x = self.get_submodule(name)(x)
        return self.fc(x.mean((2, 3)))


def test_modules_may_have_any_name(few, tmp_path):
    names = ("weight", "image", "unit", "kernel", "done", "a/b", "scale", "store", "c")
    torch.manual_seed(0)
    model, scenes = Anyone(*names).eval(), skviz.place(few, canvas=32)
    ds = skviz.sweep(model, scenes, store=tmp_path / "s.zarr", channels=True, **QUIET)
    assert ds["unit"].values.tolist() == list(names)
    plain = skviz.sweep(model, scenes, **QUIET)
    for name in names:
        one, other = (skviz.stats.channels(each, name) for each in (ds, plain))
        np.testing.assert_array_equal(one, other)
        assert one.dims == ("image", "scale", "branch", "channel")
        mean = one.mean("channel").transpose("image", "scale", "branch")
        np.testing.assert_allclose(mean, plain["weight"].sel(unit=name), atol=1e-6)


def test_units_are_names_or_units_or_one_of_them(small_net, few):
    scenes = skviz.place(few[:2], canvas=32)
    units = skviz.find_units(small_net, scenes.render(1.0))
    name = "stage2.0.sk"
    for given in (name, [name], (name,), units[name], [units[name]], {name}):
        ds = skviz.sweep(small_net, scenes, units=given, **QUIET)
        assert ds["unit"].values.tolist() == [name]
        found = skviz.effect(small_net, scenes, {"u": "uniform"}, units=given, **QUIET)
        assert found["unit"].values.tolist() == [name, "all"]
    assert skviz.sweep(small_net, scenes, units=units, **QUIET).sizes["unit"] == 2
    with pytest.raises(SkvizError, match="stage9"):
        skviz.sweep(small_net, scenes, units="stage9", **QUIET)


def test_images_as_they_are(small_net, few):
    images = skviz.place(few, canvas=32).render(1.0)
    ds = skviz.sweep(small_net, images, device="cpu")
    placed = skviz.sweep(small_net, skviz.place(few, canvas=32), scales=[1.0], device="cpu")
    np.testing.assert_allclose(ds["weight"], placed["weight"], atol=1e-6)
    assert ds["scale"].values.tolist() == [1.0]
    for wrong, said in (
        (images[0], r"\(3, 32, 32\)"),
        (images.byte(), "floats"),
        ("x", "No such file"),
    ):
        with pytest.raises(SkvizError, match=said):
            skviz.sweep(small_net, wrong)
    with pytest.raises(SkvizError, match="at scale 1"):
        skviz.sweep(small_net, images, scales=[1.0, 2.0])


def test_what_a_measure_does_not_run_through_does_not_make_another_study() -> None:
    from skviz.studies import setting

    folders: Any = set(setting.RUN_THROUGH)
    assert folders >= {"models", "capture", "scenes", "studies"}
    assert not folders & {"plot", "figures", "explorer", "stats"}
