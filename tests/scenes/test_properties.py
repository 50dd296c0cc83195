"""Properties of pictures whose properties are known."""

import numpy as np
import pytest
import torch

from skviz.scenes.properties import PROPERTIES, of_mask, properties


def measured(picture: np.ndarray) -> dict[str, float]:
    """Measure a grey picture (y, x), or (y, x, rgb)."""
    rgb = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, 2)
    values = properties(torch.tensor(rgb).permute(2, 0, 1)[None])[0]
    return dict(zip(PROPERTIES, values.tolist(), strict=True))


@pytest.mark.parametrize("cycles", [4, 8, 16, 24])
def test_the_centroid_of_a_grating_is_its_frequency(cycles):
    x = np.arange(64) / 64
    grating = 0.5 + 0.3 * np.sin(2 * np.pi * cycles * x)[None].repeat(64, 0)
    found = measured(grating)
    assert found["spectral centroid"] == pytest.approx(cycles / 64, rel=0.03)
    assert found["contrast"] == pytest.approx(0.3 / np.sqrt(2), rel=0.01)
    assert found["brightness"] == pytest.approx(0.5, abs=1e-6)
    assert found["colourfulness"] == pytest.approx(0, abs=1e-6)


def test_an_edge_is_counted_once_and_a_ramp_is_none():
    step = np.zeros((20, 20))
    step[:, 10:] = 1
    assert measured(step)["edge density"] == pytest.approx(2 / 20)  # both sides of it
    ramp = np.linspace(0, 1, 20)[None].repeat(20, 0)
    assert measured(ramp)["edge density"] == 0


def test_colourfulness_is_that_of_the_article():
    picture = np.random.default_rng(0).random((16, 16, 3))
    red, green, blue = picture.reshape(-1, 3).T * 255
    rg, yb = red - green, (red + green) / 2 - blue
    spread = np.hypot(rg.std(ddof=1), yb.std(ddof=1))
    expected = spread + 0.3 * np.hypot(rg.mean(), yb.mean())
    assert measured(picture)["colourfulness"] * 255 == pytest.approx(expected, rel=1e-6)


def test_coverage_and_size_of_a_mask():
    mask = torch.zeros(2, 20, 20)
    mask[0, 4:8, 5:15] = 1
    mask[1, :, 3] = 1
    coverage, size = of_mask(mask)
    torch.testing.assert_close(coverage, torch.tensor([0.1, 0.05]))
    torch.testing.assert_close(size, torch.tensor([0.5, 1.0]))
