"""Every result, and every figure of it, says which images it is of, and how they were chosen."""

import numpy as np
import pytest
import torch
from PIL import Image

import skviz
from skviz.figures import record
from skviz.studies import store

SCALES = [1.0, 1.5]
OPTIONS = {"scales": SCALES, "device": "cpu", "progress": False}
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
MASK = np.zeros((40, 50), bool)
MASK[12:28, 15:35] = True


def own(picture=PICTURE):
    return skviz.photographs({"mine": picture}).zoom(canvas=32)


RUNS = {
    "sweep": skviz.sweep,
    "effect": lambda model, scenes, **options: skviz.effect(
        model, scenes, {"equal": "uniform"}, **options
    ),
    "controls": lambda model, scenes, **options: skviz.controls(
        model, scenes, names=(), seeds=0, **options
    ),
    "receptive_field": skviz.receptive_field,
    "attribute": lambda model, scenes, **options: skviz.attribute(
        model, scenes, target=0, method="saliency", **options
    ),
}


@pytest.mark.parametrize("run", RUNS)
def test_other_pictures_have_another_hash_and_the_same_ones_the_same(small_net, run):
    """Inverted photographs gave the same provenance once: that of the shipped ones."""
    first, again, inverted = (
        RUNS[run](small_net, own(picture), **OPTIONS).attrs
        for picture in (PICTURE, PICTURE.copy(), 255 - PICTURE)
    )
    assert first["images_sha256"] == again["images_sha256"] != inverted["images_sha256"]
    assert first == again
    assert {key for key in first if first[key] != inverted[key]} == {"images_sha256"}
    assert (first["images"], first["ids"], first["scales"]) == (1, ["mine"], SCALES)


def test_the_mask_counts_too(small_net):
    hashes = [
        skviz.sweep(
            small_net, skviz.photographs({"mine": (PICTURE, mask)}).cut_out(canvas=32), scales=[0.9]
        ).attrs["images_sha256"]
        for mask in (MASK, np.roll(MASK, 1, 0))
    ]
    assert hashes[0] != hashes[1]


def test_the_same_in_memory_and_in_a_store(small_net, few, tmp_path):
    scenes = skviz.place(few, canvas=32)
    plain = skviz.sweep(small_net, scenes, batch=2, **OPTIONS)
    kept = skviz.sweep(small_net, scenes, batch=2, store=tmp_path / "s.zarr", **OPTIONS)
    assert plain.attrs | {"channels": False} == kept.attrs
    assert store.load(tmp_path / "s.zarr").attrs == kept.attrs
    assert plain.attrs["ids"] == list(few.ids)


def test_a_folder_is_named_and_its_files_count(small_net, tmp_path):
    (tmp_path / "photos/cat").mkdir(parents=True)
    (tmp_path / "photos/dog").mkdir()
    found = []
    for pixels in (PICTURE, 255 - PICTURE):
        for name in ("cat/a", "dog/b"):
            Image.fromarray(pixels).save(tmp_path / f"photos/{name}.png")
        source = skviz.photographs(tmp_path / "photos").zoom(canvas=32).where(category="dog")
        found.append(skviz.sweep(small_net, source, **OPTIONS).attrs)
    assert found[0]["images_sha256"] != found[1]["images_sha256"]
    assert found[0]["ids"] == ["dog/b.png"]
    assert found[0]["made"] == [
        {"function": "skviz.photographs", "source": "photos"},
        {"function": "zoom", "canvas": 32},
        {"function": "where", "category": "dog"},
    ]


def test_a_figure_says_what_it_was_made_from(small_net, tmp_path):
    chosen = skviz.objects(category=["bus", "bell"], family="noto")
    ds = skviz.sweep(small_net, skviz.place(chosen, canvas=32, seed=3), batch=1, **OPTIONS)
    path = skviz.save_figure(skviz.plot.scale_response(ds), tmp_path / "figure.pdf")
    known = record.read(path)
    for key in ("images", "ids", "images_sha256", "scales", "made", "units", "batch", "device"):
        assert known[key] == ds.attrs[key], key
    steps = {each.pop("function"): each for each in known["made"]}
    assert steps["where"] == {"category": ["bus", "bell"], "family": "noto"}
    assert steps["skviz.place"]["seed"] == 3
    assert known["ids"] == ["noto/bell", "noto/bus"]
    hidden = skviz.save_figure(skviz.plot.scale_response(ds), tmp_path / "a.pdf", anonymous=True)
    assert record.read(hidden)["images_sha256"] == ds.attrs["images_sha256"]
    assert "made" not in record.read(hidden)


def test_images_as_they_are_have_a_hash(small_net):
    images = torch.rand(2, 3, 32, 32)
    one, other = (
        skviz.attribute(small_net, given, target=0, method="saliency").attrs["images_sha256"]
        for given in (images, 1 - images)
    )
    assert one != other
