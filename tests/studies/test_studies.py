import copy
import errno
import weakref
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image

import skviz
from skviz.errors import DataError, SkvizError
from skviz.models.nn import SKNet
from skviz.stats import interval
from skviz.studies import disk, setting
from skviz.studies.disk import Disk

SCALES = [1.0, 1.5]


@pytest.fixture
def scenes(few):
    return skviz.place(few, canvas=32)


def study(model, scenes, path, **options):
    options = {"batch": 2, "chunk": 2, "progress": False, "device": "cpu"} | options
    return skviz.sweep(model, scenes, scales=SCALES, store=path, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven photographs of two classes, three of them unusable."""
    generator = np.random.default_rng(0)
    for name in ("cat/0", "cat/1", "cat/2", "dog/3", "dog/4", "dog/5", "dog/6"):
        path = tmp_path / "photos" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (40, 50, 3), np.uint8)).save(path)
    root = tmp_path / "photos"
    (root / "cat/1.png").write_bytes((root / "cat/1.png").read_bytes()[:2000])
    (root / "dog/4.png").write_text("not an image")
    return root


def test_holds_what_a_sweep_in_memory_gives(small_net, scenes, tmp_path):
    plain = skviz.sweep(small_net, scenes, scales=SCALES, batch=2)
    kept = study(small_net, scenes, tmp_path / "s.zarr", channels=True, chunk=4)
    for name in ("weight", "spread", "probability", "prediction", "thumbnail", "kernel"):
        np.testing.assert_allclose(kept[name], plain[name], atol=1e-6, err_msg=name)
    for name in ("image", "scale", "unit", "category"):
        np.testing.assert_array_equal(kept[name], plain[name])
    for unit in plain["unit"].values:
        np.testing.assert_allclose(
            skviz.stats.channels(kept, unit), skviz.stats.channels(plain, unit), atol=1e-3
        )
    assert plain.attrs | {"chunk": 4} == kept.attrs
    assert {name: (v.dims, v.dtype) for name, v in plain.variables.items()} == {
        name: (v.dims, v.dtype) for name, v in kept.variables.items()
    }
    assert (kept["problem"] == "").all()
    assert "channel_weight" not in study(small_net, scenes, tmp_path / "without.zarr")


def test_area_is_that_of_the_mask(small_net, few, scenes, tmp_path):
    area = study(small_net, scenes, tmp_path / "s.zarr")["area"].values
    alpha = few.rgba[:, 3].numpy() / 255
    np.testing.assert_allclose(area, alpha.mean((1, 2)) * 0.5**2, rtol=1e-5)


def test_one_task_is_one_chunk(small_net, scenes, tmp_path):
    study(small_net, scenes, tmp_path / "s.zarr")
    for name in ("weight", "prediction", "area"):
        files = {p.name for p in (tmp_path / "s.zarr" / name / "c").iterdir()}
        assert files == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("change", "said"),
    [({"scales": [1.0, 2.0]}, "scales"), ({"batch": 1}, "batch"), ({"model": 1}, "model_sha256"),
     ({"source": 1}, "source_sha256"), ({"channels": True}, "channels"), ({"code": 1}, "code_")],
)  # fmt: skip
def test_another_study_is_refused(small_net, few, scenes, tmp_path, monkeypatch, change, said):
    study(small_net, scenes, tmp_path / "s.zarr")
    before = {p: p.read_bytes() for p in (tmp_path / "s.zarr").rglob("*") if p.is_file()}
    change = dict(change)
    model = small_net
    if change.pop("model", None):
        model = SKNet((1, 1), (8, 16), stem_channels=8, stem_stride=2, groups=2, num_classes=7)
    if change.pop("source", None):
        scenes = skviz.place(few, canvas=32, seed=1)
    if change.pop("code", None):
        monkeypatch.setattr(setting, "code_hash", lambda: "another")
    scales = change.pop("scales", SCALES)
    options = {"batch": 2, "chunk": 2, "device": "cpu"} | change
    with pytest.raises(DataError, match=f"another study.*{said}"):
        skviz.sweep(model, scenes, scales=scales, store=tmp_path / "s.zarr", **options)
    assert before == {p: p.read_bytes() for p in (tmp_path / "s.zarr").rglob("*") if p.is_file()}


def test_a_full_disk_loses_nothing(small_net, scenes, tmp_path, monkeypatch):
    sync = disk.sync

    def full(file):
        if file.relative_to(tmp_path / "s.zarr").parts[2] == "1":  # a chunk of the second task
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(file)

    monkeypatch.setattr(disk, "sync", full)
    with pytest.raises(DataError, match=r"No space left.*run the same again"):
        study(small_net, scenes, tmp_path / "s.zarr")
    assert Disk(tmp_path / "s.zarr").pending() == [1, 2]
    monkeypatch.setattr(disk, "sync", sync)
    again = study(small_net, scenes, tmp_path / "s.zarr")
    whole = study(small_net, scenes, tmp_path / "whole.zarr")
    xr.testing.assert_identical(again.load(), whole.load())


def test_an_unusable_image_stops(small_net, folder, tmp_path):
    with pytest.raises(DataError, match=r"'cat/1.png' cannot be used \(.*truncated"):
        study(small_net, skviz.photographs(folder).zoom(canvas=32), tmp_path / "s.zarr")


@pytest.mark.parametrize("batch", [1, 2])
def test_unusable_images_are_skipped_and_named(small_net, folder, tmp_path, monkeypatch, batch):
    source = skviz.photographs(folder).zoom(canvas=32)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # 40 × 50 is twice as much
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(folder / "dog/5.png")
    for name in ("cat/0", "cat/2", "dog/3"):
        picture = Image.fromarray(np.full((20, 25, 3), 99, np.uint8))
        picture.save(folder / f"{name}.png")
    (folder / "dog/5.png").unlink()  # vanishes
    options = {"on_error": "skip", "batch": batch, "chunk": 3}
    kept = study(small_net, source, tmp_path / "s.zarr", **options).load()
    problems = dict(zip(kept["image"].values, kept["problem"].values, strict=True))
    assert {name for name, why in problems.items() if why} == {
        "cat/1.png", "dog/4.png", "dog/5.png", "dog/6.png",
    }  # fmt: skip
    assert "cannot identify" in problems["dog/4.png"]
    assert "No such file" in problems["dog/5.png"]
    assert "DecompressionBomb" in problems["dog/6.png"]
    skipped = kept.sel(image=["cat/1.png", "dog/4.png", "dog/6.png"])
    assert np.isnan(skipped["weight"].values).all()
    for name in ("prediction", "probability", "area"):
        assert np.isnan(skipped[name].values).all(), name
    pictures = kept["thumbnail"].assign_coords(example=kept["example"])
    assert (pictures.sel(example="cat/1.png") == 255).all()  # no black picture that nobody saw
    assert (pictures.sel(example="cat/0.png") == 99).all()
    good = kept.sel(image=["cat/0.png", "cat/2.png", "dog/3.png"])
    pictures = {"grey": torch.full((3, 20, 25), 99, dtype=torch.uint8)}
    alone = skviz.sweep(small_net, skviz.photographs(pictures).zoom(canvas=32), scales=SCALES)
    for image in good["image"].values:
        np.testing.assert_allclose(
            good["weight"].sel(image=image), alone["weight"].isel(image=0), atol=1e-6
        )


def test_what_stopped_a_study_can_be_mended(small_net, folder, tmp_path):
    """The tasks before the bad image are kept; the picture that took its place is measured."""

    def run():
        source = skviz.photographs(folder).zoom(canvas=32)
        return study(small_net, source, tmp_path / "s.zarr", batch=1, chunk=1)

    Image.new("RGB", (40, 50), "green").save(folder / "cat/1.png")
    with pytest.raises(DataError, match=r"dog/4.png"):
        run()
    assert Disk(tmp_path / "s.zarr").pending() == [4, 5, 6]
    done = (tmp_path / "s.zarr/done/c/0").stat().st_mtime_ns
    Image.new("RGB", (40, 50), "red").save(folder / "dog/4.png")
    ds = run()
    assert (ds["problem"] == "").all()
    assert (tmp_path / "s.zarr/done/c/0").stat().st_mtime_ns == done
    # An image that was measured must stay what it was.
    Image.new("RGB", (40, 50), "blue").save(folder / "dog/3.png")
    with pytest.raises(DataError, match=r"another study: image 'dog/3.png' has changed"):
        run()


def test_only_what_scenes_are_made_of_counts(few):
    scenes = skviz.place(few, canvas=32)
    before = scenes.content
    assert scenes.layers.largest_scale > 1  # remembers how far the objects reach
    assert (scenes.content == before).all()


def test_the_same_weights_in_another_architecture_are_another_study(scenes, tmp_path):
    nets = []
    for kernels in ((3, 5), (3, 7)):
        torch.manual_seed(0)
        nets.append(SKNet((1,), (8,), stem_channels=8, stem_stride=2, groups=2, kernels=kernels))
    study(nets[0], scenes, tmp_path / "s.zarr")
    with pytest.raises(DataError, match=r"another study.*architecture"):
        study(nets[1], scenes, tmp_path / "s.zarr")


def test_classes_that_only_some_images_have_are_judged_for_none(folder, tmp_path):
    model = skviz.load("objects")
    (folder / "dog").rename(folder / "zebra-that-no-network-knows")
    for name in ("cat/1", "zebra-that-no-network-knows/4"):
        Image.new("RGB", (40, 50), "red").save(folder / f"{name}.png")
    source = skviz.photographs(folder).zoom(canvas=32)
    assert "correct" not in study(model, source, tmp_path / "s.zarr", chunk=3)


def test_a_skipped_image_does_not_count(small_net, folder, tmp_path):
    source = skviz.photographs(folder).zoom(canvas=32)
    ds = study(small_net, source, tmp_path / "s.zarr", on_error="skip")
    kept = ds.isel(image=(ds["problem"] == "").values)
    assert kept.sizes["image"] == 5
    xr.testing.assert_allclose(skviz.shift(ds), skviz.shift(kept))
    mean = interval(skviz.expected_kernel(ds))
    xr.testing.assert_allclose(mean, interval(skviz.expected_kernel(kept)))
    assert "n = 5 scenes" in skviz.caption(skviz.plot.scale_response(ds))


def test_memory_holds_a_few_pictures_only(small_net, tmp_path):
    """However many there are in a batch: no more are decoded at once than there are threads."""
    held, most = Counter(), []

    class Large:
        classes, targets = ["x"], [0] * 40

        def __len__(self):
            return 40

        def __getitem__(self, index):
            picture = torch.full((3, 60, 60), index / 40)
            held.update(["alive"])
            weakref.finalize(picture, held.subtract, ["alive"])
            most.append(held["alive"])
            return picture

    study(small_net, skviz.photographs(Large()).zoom(canvas=32), tmp_path / "s.zarr", batch=40)
    assert max(most) <= 3


def test_wrong_options(small_net, scenes, tmp_path):
    with pytest.raises(DataError, match="'stop' or 'skip'"):
        study(small_net, scenes, tmp_path / "s.zarr", on_error="carry on")
    with pytest.raises(SkvizError, match="client must be a Client"):
        skviz.sweep(small_net, scenes, client=object())
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="could not be created"):
        study(small_net, scenes, tmp_path / "file/s.zarr")
    with pytest.raises(DataError, match="from 1 to"):
        study(small_net, scenes, tmp_path / "s.zarr", chunk=0)
    assert not (tmp_path / "s.zarr").exists()


def test_a_model_whose_move_fails_comes_back_as_it_was(small_net, scenes, monkeypatch):
    model = copy.deepcopy(small_net).train()
    model.stage1.eval()
    model.register_buffer("elsewhere", torch.empty(1, device="meta"))
    before = [module.training for module in model.modules()]
    moved = []

    def to(self, device):
        moved.append(str(device))
        if len(moved) == 1:
            raise torch.cuda.OutOfMemoryError("no room")
        return self

    monkeypatch.setattr(type(model), "to", to)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        skviz.sweep(model, scenes, scales=[1.0], device="cpu")
    assert moved == ["cpu", "cpu"]
    assert [module.training for module in model.modules()] == before


@pytest.mark.parametrize("device", ["meta", "cuda:99", "nowhere"])
def test_a_device_is_tried_before_the_model_is_moved(small_net, scenes, device):
    with pytest.raises(SkvizError, match=r"device|computed on"):
        skviz.sweep(small_net, scenes, scales=[1.0], device=device)
    assert next(small_net.parameters()).device.type == "cpu"
