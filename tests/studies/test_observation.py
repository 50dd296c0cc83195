import numpy as np
import torch
from PIL import Image

import skviz
from skviz.scenes.properties import PROPERTIES, properties


def test_readings_are_a_sweep_beside_what_was_measured_of_its_pictures(small_net, few):
    scenes = skviz.place(few, canvas=32)
    ds = skviz.readings(small_net, scenes, scales=[0.5, 1.0], channels=True, progress=False)
    swept = skviz.sweep(small_net, scenes, scales=[0.5, 1.0], progress=False)
    np.testing.assert_allclose(ds["weight"], swept["weight"], atol=1e-6)
    assert ds["property"].values.tolist() == [*PROPERTIES, "coverage", "size"]
    assert "channel_weight" in ds
    for scale in (0.5, 1.0):
        here = ds["picture"].sel(scale=scale).values
        np.testing.assert_allclose(here[:, :5], properties(scenes.render(scale)))
        np.testing.assert_allclose(here[:, 5], scenes.mask(scale).mean((1, 2)), rtol=1e-6)


def test_where_no_object_is_known_the_picture_is_all(small_net):
    photographs = skviz.photographs().zoom(canvas=32)
    ds = skviz.readings(small_net, photographs, progress=False)
    assert ds["property"].values.tolist() == list(PROPERTIES)
    tensor = skviz.readings(small_net, torch.rand(3, 3, 32, 32), progress=False)
    assert tensor["picture"].shape == (3, 1, 5)


def test_what_was_skipped_explains_nothing(small_net, tmp_path):
    generator = np.random.default_rng(0)
    for number in range(12):
        picture = generator.integers(0, 255 - 15 * number, (40, 40, 3), np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{number:02d}.png")
    good = skviz.photographs(tmp_path).zoom(canvas=32)[1:]
    expected = skviz.stats.explained(skviz.readings(small_net, good, progress=False))
    (tmp_path / "00.png").write_text("no picture")
    every = skviz.photographs(tmp_path).zoom(canvas=32)
    ds = skviz.readings(small_net, every, on_error="skip", progress=False)
    assert ds["picture"].isel(image=0).isnull().all()
    found = skviz.stats.explained(ds)
    np.testing.assert_allclose(found["estimate"], expected["estimate"], atol=1e-3)
    given = skviz.stats.explained(ds, skviz.attention_difference(ds))
    np.testing.assert_array_equal(found["estimate"], given["estimate"])
