import numpy as np
import pytest
import torch
from textboxes import texts
from torch import nn

from skviz import plot
from skviz.errors import SkvizError
from skviz.models.nn import SKAttention, SKConv
from skviz.plot import style
from skviz.plot.diagram import kernel_label


@pytest.mark.parametrize("kernels", [(3, 5), (3, 5, 7), (1, 3, 5, 7)])
def test_every_branch_kernel_and_shape_is_drawn(kernels):
    unit = SKConv(64, kernels=kernels, groups=8, stride=2).eval()
    images = torch.rand(3, 64, 14, 14)
    figure = plot.unit_diagram(unit, images)
    shown = [text.get_text() for text in texts(figure)]
    assert {f"{kernel}×{kernel}" for kernel in kernels} <= set(shown)
    assert f"softmax over\n{len(kernels)} branches" in shown
    assert {"64×\n14×14", "64×\n7×7"} <= set(shown)
    z = unit.fuse.eval()(sum(conv(images) for conv in unit.convs).mean((2, 3)))
    weights = unit.select(z).unflatten(1, (len(kernels), 64)).softmax(1).mean(0).detach()
    np.testing.assert_allclose(figure.tables["weights"]["weight"], weights, atol=1e-6)
    for index, mean in enumerate(weights.mean(1)):
        assert f"branch {index}: {mean:.2f}" in shown


def test_units_of_other_peoples_models_are_drawn():
    timm = pytest.importorskip("timm")
    model = timm.create_model("skresnet18", pretrained=False)
    figure = plot.unit_diagram(model, torch.rand(2, 3, 64, 64), unit="layer2.0.conv1")
    shown = [text.get_text() for text in texts(figure)]
    assert {"3×3", "5×5", "3×3, dilation 2"} <= set(shown)
    assert model.training  # as it was


def test_kernels_that_are_not_one_convolution_stay_plain():
    class Stacked(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Conv2d(8, 8, 3, padding=1)
            self.two = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1))
            self.fc = nn.Linear(8, 16)

        def forward(self, x):
            branches = torch.stack([self.one(x), self.two(x)], 1)
            z = self.fc(branches.sum(1).mean((2, 3)))
            return (branches * z.unflatten(1, (2, 8)).softmax(1)[..., None, None]).sum(1)

    shown = [t.get_text() for t in texts(plot.unit_diagram(Stacked(), torch.rand(2, 8, 9, 9)))]
    assert {"3×3", "5×5"} <= set(shown)
    assert "convolution" not in shown


def test_the_operations_of_the_path_are_those_of_the_unit():
    """Not what a unit usually has: numbers of S and Z, and what makes them, as they were seen."""

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Conv2d(8, 8, 3, padding=1)
            self.two = nn.Conv2d(8, 8, 5, padding=2)
            self.fc = nn.Linear(8, 16)

        def forward(self, x):
            branches = torch.stack([self.one(x), self.two(x)], 1)
            scores = self.fc(branches.sum(1).amax((2, 3))).unflatten(1, (2, 8))
            return (branches * scores.softmax(1)[..., None, None]).sum(1)

    class Gated(Plain):
        def forward(self, x):
            gate = self.fc((self.one(x) + self.two(x)).mean((2, 3)))[:, :8, None, None].sigmoid()
            return self.one(x) * gate + self.two(x) * (1 - gate)

    def drawn(unit, channels):
        figure = plot.unit_diagram(unit.eval(), torch.rand(3, channels, 9, 9))
        return {t.get_text() for t in texts(figure)}, figure.caption

    words, caption = drawn(SKConv(64, reduction=4, L=8, groups=8), 64)
    assert {
        "S",
        "64",
        "Z",
        "16",
        "mean",
        "dense",
        "norm, ReLU",
        "softmax over\n2 branches",
    } <= words
    assert caption.endswith("S: mean. Z: dense, norm, ReLU.")
    words, caption = drawn(SKAttention(64, reduction=8), 64)
    assert {"S", "64", "Z", "32", "mean", "dense"} <= words
    assert not {"norm", "ReLU", "norm, ReLU"} & words
    words, caption = drawn(Plain(), 8)
    assert {"S", "8", "maximum", "dense"} <= words
    assert "Z" not in words  # one dense layer makes scores of S
    assert caption.endswith("S: maximum.")
    words, _ = drawn(Gated(), 8)
    assert {"S", "dense", "sigmoid", "2 branches\nsum to 1"} <= words
    assert not any("softmax" in word for word in words)


class Narrow(nn.Module):
    """Two branches; a descriptor that a convolution over its numbers, or none, makes scores of."""

    def __init__(self, pooled=True):
        super().__init__()
        self.pooled = pooled
        self.one = nn.Conv2d(8, 8, 3, padding=1)
        self.two = nn.Conv2d(8, 8, 5, padding=2)
        self.along = nn.Conv1d(1, 2, 3, padding=1)
        self.each = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        branches = torch.stack([self.one(x), self.two(x)], 1)
        if self.pooled:
            scores = self.along(branches.sum(1).mean((2, 3))[:, None])[..., None, None]
        else:
            scores = self.each(branches.sum(1))[:, :, None]  # for each place
        return (branches * scores.softmax(1)).sum(1)


class Pair(nn.Module):
    """Two units whose operations are all those of one module, the second pooled otherwise."""

    def __init__(self):
        super().__init__()
        layers = [nn.Conv2d(8, 8, k, padding=k // 2) for k in (3, 5, 3, 5)]
        self.convs, self.fcs = nn.ModuleList(layers), nn.ModuleList([nn.Linear(8, 16)] * 2)

    def forward(self, x):
        for unit, pool in enumerate((torch.mean, torch.amax)):
            convs = self.convs[2 * unit : 2 * unit + 2]
            branches = torch.stack([conv(x) for conv in convs], 1)
            scores = self.fcs[unit](pool(branches.sum(1), (2, 3))).unflatten(1, (2, 8))
            x = (branches * scores.softmax(1)[..., None, None]).sum(1)
        return x


def test_operations_that_are_not_what_they_look_like_are_not_named_so():
    def words(unit, images=None):
        images = torch.rand(3, 8, 9, 9) if images is None else images
        return {t.get_text() for t in texts(plot.unit_diagram(unit.eval(), images))}

    torch.manual_seed(0)
    along = words(Narrow())
    assert {"S", "convolution"} <= along
    assert not {"dense", "Z"} & along
    assert "S" not in words(Narrow(pooled=False))  # a sum over branches is no descriptor
    both = words(Pair())  # which of them is drawn cannot be told from its operations
    assert not {"S", "Z", "mean", "maximum"} & both
    assert "2 branches\nsum to 1" in both
    again = nn.Sequential(*[SKConv(8, groups=2)] * 2)  # one unit that is called twice
    assert {"S", "8", "Z", "mean", "softmax over\n2 branches"} <= words(again)


def test_what_cannot_be_drawn_is_refused(small_net):
    images = torch.rand(2, 3, 32, 32)
    with pytest.raises(SkvizError, match="no unit is called 'nothing'"):
        plot.unit_diagram(small_net, images, unit="nothing")
    with pytest.raises(SkvizError, match="found no Selective-Kernel unit"):
        plot.unit_diagram(nn.Conv2d(3, 4, 3), images)
    with style.context(width="column"), pytest.raises(SkvizError, match="width='text'"):
        plot.unit_diagram(small_net, images)


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
        images = [ax.images[0].get_array() for ax in plot.impulse_response(unit).axes if ax.images]
        for image, kernel, count in zip(images, unit.kernels, taps, strict=False):
            lit = np.argwhere(np.asarray(image) > 1e-6)
            assert len(lit) == count
            assert (lit.max(0) - lit.min(0) + 1 == kernel).all()
