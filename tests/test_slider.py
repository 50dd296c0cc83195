import io

import numpy as np
import pytest
from PIL import Image

from skviz.errors import SkvizError
from skviz.slider import at_scale, scale_slider


def test_bars_end_where_the_weights_add_up(ds):
    _, bars, channels = at_scale(ds, 1.5, example=1, unit="stage2.0.sk").axes
    weight = ds["weight"].isel(image=1).sel(scale=1.5).values  # (unit, branch)
    widths = np.array([bar.get_width() for bar in bars.patches]).reshape(3, 2).T
    np.testing.assert_allclose(widths, np.nan_to_num(weight))
    first, now = (line.get_ydata() for line in channels.lines)
    largest = ds["stage2.0.sk"]["weight"].isel(image=1, branch=2)
    np.testing.assert_allclose(first, np.sort(largest.sel(scale=0.5)))
    np.testing.assert_allclose(np.sort(now), np.sort(largest.sel(scale=1.5)))
    assert "7×7" in channels.get_title()


def test_limits_stay_while_the_slider_moves(ds):
    limits = {
        tuple((ax.get_xlim(), ax.get_ylim()) for ax in at_scale(ds, scale).axes)
        for scale in (0.5, 1.0, 2.0)
    }
    assert len(limits) == 1


def test_what_the_sweep_does_not_hold_is_named(ds):
    with pytest.raises(SkvizError, match=r"no scale 3.*\[0\.5, 1\.0"):
        at_scale(ds, 3.0)
    with pytest.raises(SkvizError, match="unit 'other'"):
        at_scale(ds, 1.0, unit="other")


def test_moving_the_slider_redraws_that_scale(ds):
    box = scale_slider(ds)
    scale, picture = box.children[1:]
    assert scale.value == 1.0
    before = picture.value
    scale.value = 2.0
    assert picture.value != before
    assert picture.value == at_scale(ds, 2.0)._repr_png_()
    assert Image.open(io.BytesIO(picture.value)).width > 600
    scale.value = 1.0
    assert picture.value == before


def test_the_choice_of_object_and_unit_is_drawn(ds):
    box = scale_slider(ds)
    example, unit = box.children[0].children
    example.value, unit.value = 2, "stage1.0.sk"
    expected = at_scale(ds, 1.0, example=2, unit="stage1.0.sk")._repr_png_()
    assert box.children[2].value == expected
