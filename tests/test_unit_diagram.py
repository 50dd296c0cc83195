import numpy as np
import pytest
import torch
from matplotlib.text import Text

from skviz.nn import SKAttention, SKConv
from skviz.plot.unit_diagram import impulse_response, kernel_label, unit_diagram


def texts(figure):
    figure.canvas.draw()
    return [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]


@pytest.mark.parametrize("kernels", [(3, 5), (3, 5, 7), (1, 3, 5, 7)])
def test_every_branch_and_shape_is_drawn(kernels):
    unit = SKConv(64, kernels=kernels, groups=8)
    figure = unit_diagram(unit, size=(14, 14))
    shown = "\n".join(text.get_text() for text in texts(figure))
    for index, branch in enumerate(unit.convs):
        assert kernel_label(branch.conv) in shown
        assert f"branch {index}" in shown
    assert f"softmax over {len(kernels)} branches" in shown
    assert f"weights: {len(kernels)}×64" in shown
    for text in texts(figure):
        box = text.get_window_extent()
        assert text.get_fontsize() >= 6
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1


def test_labels_name_what_a_dilated_kernel_is_made_of():
    dilated, true = SKConv(8, groups=1), SKConv(8, groups=1, dilated=False)
    assert kernel_label(dilated.convs[1].conv) == "5×5 (3×3, dilation 2)"
    assert kernel_label(true.convs[1].conv) == "5×5"


def test_impulse_responses_have_the_kernels_reach():
    torch.manual_seed(0)
    for unit, taps in (
        (SKConv(8, kernels=(3, 5, 7), groups=1), [9, 9, 9]),
        (SKAttention(8, kernels=[1, 3, 5], reduction=2), [1, 9, 25]),
    ):
        images = [ax.images[0].get_array() for ax in impulse_response(unit).axes if ax.images]
        for image, kernel, count in zip(images, unit.kernels, taps, strict=False):
            lit = np.argwhere(np.asarray(image) > 1e-6)
            assert len(lit) == count
            assert (lit.max(0) - lit.min(0) + 1 == kernel).all()
