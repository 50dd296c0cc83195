from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from shutil import copytree, rmtree

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image
from torchvision.transforms.functional import to_pil_image

import skviz
from skviz.assets import data_folder
from skviz.errors import DataError, SkvizError
from skviz.models.nn import SKNet
from skviz.studies import store
from skviz.studies.disk import Disk


def test_comes_back_as_it_was(ds, tmp_path):
    again = store.load(store.save(ds, tmp_path / "study.zarr"))
    xr.testing.assert_identical(again, ds)
    np.testing.assert_array_equal(
        skviz.stats.channels(again, "stage2.0.sk"), skviz.stats.channels(ds, "stage2.0.sk")
    )


def test_never_overwrites(ds, tmp_path):
    (tmp_path / "study.zarr").mkdir()
    with pytest.raises(DataError, match="exists"):
        store.save(ds, tmp_path / "study.zarr")


def test_what_is_no_store(tmp_path):
    with pytest.raises(DataError, match="not a result"):
        store.load(tmp_path / "nothing.zarr")


def test_read_when_used(ds, tmp_path):
    path = store.save(ds, tmp_path / "study.zarr")
    lazy = store.load(path, lazy=True)
    assert not lazy["weight"].variable._in_memory
    xr.testing.assert_identical(lazy.load(), ds)


# --- what was lost or altered ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(small_net, few, tmp_path_factory):
    """A finished study, and a function that does it again in another place."""

    def study(path):
        return skviz.sweep(
            small_net, skviz.place(few, canvas=32), scales=[1.0, 1.5], store=path, batch=2,
            chunk=2, channels=True, device="cpu", progress=False,
        )  # fmt: skip

    path = tmp_path_factory.mktemp("finished") / "s.zarr"
    study(path)
    return path, study


def a_chunk(array: Path) -> Path:
    return min(p for p in (array / "c").rglob("*") if p.is_file())


def halve(array: Path) -> None:
    chunk = a_chunk(array)
    chunk.write_bytes(chunk.read_bytes()[: chunk.stat().st_size // 2])


def flip(array: Path) -> None:
    chunk = a_chunk(array)
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(bytes(content))


HARM = {
    "half a chunk": halve,
    "one bit": flip,
    "a chunk": lambda array: a_chunk(array).unlink(),
    "all of its chunks": lambda array: rmtree(array / "c"),
    "the whole array": rmtree,
}


def held(path: Path) -> dict[Path, bytes]:
    return {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("harm", "name"),
    [*((harm, "weight") for harm in HARM)]
    + [("one bit", name) for name in ("problem", "thumbnail", "category", "done")]
    + [("the whole array", name) for name in ("image", "channel_weight")],
)
def test_what_is_lost_or_altered_is_named_and_measured_again(finished, tmp_path, harm, name):
    """Never "ok" with other numbers, in memory or read when used."""
    whole, study = finished
    path = tmp_path / "s.zarr"
    copytree(whole, path)
    HARM[harm](path / name)
    with pytest.raises(DataError, match=rf"s.zarr: .*({name}|not done).*run the command"):
        store.load(path)
    if name == "weight" and harm != "the whole array":
        with pytest.raises(DataError, match=name):
            store.load(path, lazy=True)[name].load()
    study(path)
    assert held(path) == held(whole)


def test_a_study_that_is_not_finished_is_not_read(finished, tmp_path):
    path = tmp_path / "s.zarr"
    copytree(finished[0], path)
    for array in path.glob("*/c/2"):
        rmtree(array) if array.is_dir() else array.unlink()
    with pytest.raises(DataError, match=r"1 tasks are not done \(first 2\)"):
        store.load(path, lazy=True)


def test_a_skipped_image_is_no_missing_chunk(tmp_path, small_net):
    """A chunk of nothing but blanks is written too."""
    for name in ("cat/0", "cat/1", "dog/2", "dog/3"):
        path = tmp_path / f"photos/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), "red").save(path)
        if name != "cat/0":
            path.write_text("no image")
    source = skviz.photographs(tmp_path / "photos").zoom(canvas=32)
    options = {"store": tmp_path / "s.zarr", "on_error": "skip", "chunk": 1, "scales": [1.0]}
    ds = skviz.sweep(small_net, source, **options).load()
    assert np.isnan(ds["weight"][1:]).all()
    (tmp_path / "s.zarr/weight/c/2/0/0/0").unlink()
    with pytest.raises(DataError, match="weight/c/2"):
        store.load(tmp_path / "s.zarr")


def test_a_store_of_the_older_layout_is_refused_with_a_way_out(ds, tmp_path):
    ds.drop_vars(["problem"]).to_zarr(tmp_path / "old.zarr", zarr_format=2)
    with pytest.raises(DataError, match=r"older skviz.*make it again.*skviz sweep"):
        store.load(tmp_path / "old.zarr")


def test_a_kept_result_is_checked_too(ds, tmp_path):
    path = store.save(ds, tmp_path / "kept.zarr")
    flip(path / "weight")
    with pytest.raises(DataError, match=r"kept.zarr: chunk weight.* is damaged"):
        store.load(path)


def test_the_shipped_study_is_read():
    ds = store.load(data_folder() / "studies" / "caltech.zarr")
    assert ds.sizes["image"] == 1608
    np.testing.assert_allclose(ds["weight"].sum("branch"), 1, atol=2 / 4095)


def test_an_image_that_was_skipped_is_neither_right_nor_wrong(tmp_path):
    """Its row is there, and counts nowhere: three of four pictures of buses are right."""
    model = skviz.load("objects")
    shown = skviz.place(skviz.objects(category="bus")).render(1.5)
    right = model(shown).argmax(1) == model.card.categories.index("bus")
    (tmp_path / "photos/bus").mkdir(parents=True)
    for number, picture in enumerate(shown):
        to_pil_image(picture).save(tmp_path / f"photos/bus/{number}.png")
    (tmp_path / "photos/bus/9.png").write_text("no image")
    source = skviz.photographs(tmp_path / "photos").zoom(canvas=96)
    options = {"store": tmp_path / "s.zarr", "on_error": "skip", "scales": [1.0, 1.25]}
    ds = skviz.sweep(model, source, **options).load()
    assert ds.sizes["image"] == len(shown) + 1
    assert np.isnan(ds["correct"][-1]).all()
    assert np.isnan(ds["prediction"][-1]).all()
    mean = float(ds["correct"].sel(scale=1.0).mean())
    assert mean == pytest.approx(float(right.float().mean()), abs=1e-6)
    assert mean > 0.5
    assert float(ds["correct"].sel(scale=1.0).count()) == len(shown)


def process(path, begin, told):
    """Sweep into a store when told to; say how that ended."""
    torch.manual_seed(0)
    model = SKNet((1,), (8,), num_classes=2, stem_channels=8, groups=2).eval()
    images = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    begin.wait()
    try:
        skviz.sweep(model, images, store=path, chunk=1, batch=1, progress=False)
        told.put("done")
    except SkvizError as error:
        told.put(str(error))


@pytest.mark.long
def test_of_processes_that_make_one_store_each_is_done_or_says_so(tmp_path):
    context = get_context("spawn")
    begin, told = context.Event(), context.Queue()
    path = tmp_path / "s.zarr"
    each = [context.Process(target=process, args=(path, begin, told)) for _ in range(3)]
    for one in each:
        one.start()
    begin.set()
    ends = [told.get(timeout=120) for _ in each]
    for one in each:
        one.join()
    assert "done" in ends
    assert all(end == "done" or "another process is writing" in end for end in ends)
    assert store.load(path).sizes["image"] == 6
    assert [each.name for each in tmp_path.iterdir()] == ["s.zarr"]


def test_a_store_that_is_being_written_is_left_alone(tmp_path):
    path = tmp_path / "s.zarr"
    model = SKNet((1,), (8,), num_classes=2, stem_channels=8, groups=2).eval()
    images = torch.rand(2, 3, 16, 16)
    ds = skviz.sweep(model, images, store=path, progress=False)
    with closing(Disk(path)) as other:
        other.lock()
        with pytest.raises(DataError, match="another process is writing"):
            skviz.sweep(model, images, store=path, progress=False)
    assert skviz.sweep(model, images, store=path, progress=False).identical(ds)


@pytest.mark.parametrize("address", ["s3://b/x.zarr", "memory://x", "x.zip", Path("s3://b"), ""])
def test_what_is_no_folder_is_refused_by_name(tmp_path, address, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="a store is a folder on this machine"):
        store.load(address)
    with pytest.raises(DataError, match="a store is a folder on this machine"):
        store.save(xr.Dataset({"a": ("image", [1.0])}), address)
    assert not list(tmp_path.iterdir())


def test_numbers_of_a_changed_model_do_not_pass_for_its_own(small_net, few, tmp_path):
    """Hooks, contexts and functions are not among the attributes, but in what is measured."""
    scenes, name = skviz.place(few, canvas=32), "stage1.0.sk"
    options = {"scales": [1.0], "batch": 2, "chunk": 2, "progress": False, "device": "cpu"}

    def sweep(store: str):
        return skviz.sweep(small_net, scenes, store=tmp_path / store, **options)

    with skviz.intervene(small_net, {name: skviz.force(branch=0)}):
        forced = sweep("forced").load()
        assert forced.attrs["changed"] == [name]
        sweep("forced")  # as often as one likes
    assert "changed" not in sweep("natural").attrs
    with pytest.raises(DataError, match="changed"):
        sweep("forced")
    with skviz.intervene(small_net, {name: "uniform"}):
        with pytest.raises(DataError, match="other numbers"):
            sweep("forced")
        with pytest.raises(DataError, match="changed"):
            sweep("natural")
    hook = small_net.stage1.register_forward_hook(lambda *given: given[2] * 0.5)
    with pytest.raises(DataError, match="other numbers"):
        sweep("natural")
    hook.remove()
    sweep("natural")


def test_a_function_that_was_edited_is_another_study(tmp_path):
    model, scenes = skviz.load("objects"), skviz.place(skviz.objects(category="bus"))
    options = {"scales": [1.0], "progress": False, "device": "cpu", "store": tmp_path / "e.zarr"}
    skviz.effect(model, scenes, {"mine": lambda weights: weights.flip(1)}, **options)
    skviz.effect(model, scenes, {"mine": lambda weights: weights.flip(1)}, **options)
    with pytest.raises(DataError, match="other numbers"):
        skviz.effect(model, scenes, {"mine": lambda weights: weights.flip(2)}, **options)


def test_a_store_is_of_its_numbers_whatever_shares_a_batch(small_net, few, tmp_path):
    """In 16 bits a batch of one is rounded otherwise; that is no other study."""
    scenes = skviz.place(few, canvas=32)
    options = {"scales": [1.0], "progress": False, "device": "cpu", "store": tmp_path / "h.zarr"}
    for _ in range(2):
        skviz.sweep(small_net, scenes, precision="bfloat16", batch=4, **options)


def test_workers_that_would_not_see_a_context_are_not_asked(small_net, few, tmp_path):
    class Nobody:
        register_plugin = None

    scenes = skviz.place(few, canvas=32)
    options = {"store": tmp_path / "c.zarr", "client": Nobody(), "device": "cpu"}
    changed = skviz.intervene(small_net, {"stage1.0.sk": "uniform"})
    for context in (changed, torch.autocast("cpu", torch.bfloat16)):
        with context, pytest.raises(DataError, match="do not see a context"):
            skviz.sweep(small_net, scenes, **options)
