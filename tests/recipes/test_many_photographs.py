"""The study that notebook 04 reads, on a few pictures and beside Pillow."""

import numpy as np
import torch
from PIL import Image

import skviz
from recipes import population
from skviz import stats
from skviz.studies import store


def pictures() -> dict[str, Image.Image]:
    """Pictures of 120 × 96 pixels: at zoom 2 they have 48 of the 96 that are shown."""
    rng = np.random.default_rng(0)
    coarse = [Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)) for _ in range(4)]
    return {
        f"{i}": each.resize((120, 96), Image.Resampling.BICUBIC) for i, each in enumerate(coarse)
    }


def test_soft_is_what_pillow_makes_of_it():
    images = skviz.photographs(pictures()).zoom(canvas=96).render(1.0)
    assert torch.equal(population.soft(images, 1.0), images)
    for image, made in zip(images, population.soft(images, 2.0), strict=True):
        planes = [Image.fromarray(plane.numpy(), mode="F") for plane in image]
        small = [plane.resize((48, 48), Image.Resampling.BICUBIC) for plane in planes]
        large = np.stack([plane.resize((96, 96), Image.Resampling.BICUBIC) for plane in small])
        # torch's cubic has another parameter (-0.75; Pillow's is -0.5).
        np.testing.assert_allclose(made.numpy(), large.clip(0, 1), atol=0.05)
        assert np.abs(made.numpy() - large.clip(0, 1)).mean() < 0.004


def test_the_study_and_its_controls(tmp_path):
    model = skviz.load("objects")
    scenes = skviz.photographs(pictures(), category=["bus", "bell", "bus", "bell"]).zoom()
    ds = population.study(model, scenes, echo=lambda _: None)
    kept = store.load(store.save(ds, tmp_path / "kept.zarr"))
    swept = skviz.sweep(model, scenes, scales=population.ZOOMS, progress=False)
    natural = stats.attention_difference(swept)
    np.testing.assert_allclose(kept["weight"], swept["weight"], atol=2e-4)
    np.testing.assert_allclose(stats.attention_difference(kept), natural, atol=4e-4)
    np.testing.assert_array_equal(kept["correct"], swept["correct"])
    # What is no softer than that zoom is the zoom itself, and at zoom 1 nothing is softened.
    np.testing.assert_allclose(kept["blurred"].sel(scale=1.0), natural.sel(scale=1.0), atol=4e-4)
    for name, zoom in (("blurred", 1.0), ("even", 2.0)):
        shown = population.soft(scenes.render(zoom), 2.0)
        with torch.inference_mode(), skviz.record(model) as recording:
            model(shown)
        for unit, weights in recording.weights.items():
            by_hand = weights[:, 1].mean(1) - weights[:, 0].mean(1)
            here = kept[name].sel(unit=unit, scale=2.0)
            np.testing.assert_allclose(here, by_hand, atol=4e-4)
    assert kept["untrained"].sizes == {"control": 3, "shown": 4, "unit": 6}
    assert float(abs(kept["untrained"]).max()) > 0
    assert "thumbnail" not in kept
