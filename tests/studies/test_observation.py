import numpy as np
import torch

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
