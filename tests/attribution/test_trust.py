"""Deletion, insertion and randomisation against recomputations by hand."""

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

import skviz
from skviz.attribution import faithfulness
from skviz.attribution.trust import in_order, rank_correlation
from skviz.errors import AttributionError
from skviz.models.nn import SKNet

IMAGES = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(1))


class Linear(nn.Module):
    """A classifier that is a known linear function of the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 24 * 24, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.flatten(1))


@pytest.fixture
def linear() -> nn.Module:
    torch.manual_seed(0)
    return Linear().eval()


@pytest.fixture
def network() -> SKNet:
    torch.manual_seed(0)
    net = SKNet((1, 1), (8, 8), num_classes=5, stem_channels=8, stem_stride=2, groups=1, L=8)
    return net.eval()


def test_curves_of_a_linear_model_are_sums_of_sorted_contributions(linear):
    ds = faithfulness(
        linear, IMAGES, target=1, method="input_x_gradient", baseline=0.0, points=8, groups=0
    )
    weight = linear.fc.weight[1].detach().reshape(3, -1)
    for image in range(3):
        parts = (weight * IMAGES[image].flatten(1)).sum(0).numpy()  # each pixel's contribution
        ranked = np.sort(parts)[::-1]
        bias = float(linear.fc.bias.detach()[1])
        inserted = [bias + ranked[: round(len(ranked) * k / 8)].sum() for k in range(9)]
        deleted = [bias + ranked[round(len(ranked) * k / 8) :].sum() for k in range(9)]
        here = ds.isel(target=0, image=image).sel(order="attribution")
        np.testing.assert_allclose(here["insertion"], inserted, atol=1e-4)
        np.testing.assert_allclose(here["deletion"], deleted, atol=1e-4)
    # No order of a linear model's pixels inserts faster than its attributions.
    gap = ds["insertion"].sel(order="attribution") - ds["insertion"].sel(order="random")
    assert float(gap.min()) > -1e-4
    assert float(gap.max()) > 0.1


def test_curves_begin_and_end_at_image_and_baseline(network):
    target = [skviz.target.branch("stage1.0.sk", kernel=5), 2]
    ds = faithfulness(network, IMAGES, target=target, method="saliency", points=4, groups=0)
    np.testing.assert_allclose(
        ds["deletion"].isel(fraction=0), ds["value"].expand_dims(order=2), rtol=1e-4
    )
    np.testing.assert_allclose(
        ds["insertion"].isel(fraction=-1), ds["deletion"].isel(fraction=0), rtol=1e-4
    )
    mean = IMAGES.mean((2, 3), keepdim=True).expand_as(IMAGES)
    with torch.no_grad(), skviz.record(network) as recording:
        logits = network(mean)
    expected = [recording.weights["stage1.0.sk"][:, 1].mean(1), logits[:, 2]]
    np.testing.assert_allclose(
        ds["insertion"].isel(fraction=0, order=0), torch.stack(expected), rtol=1e-4, atol=1e-6
    )


def test_randomised_layers_change_the_map_only_where_the_target_depends_on_them(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    target = [skviz.target.branch("stage1.0.sk", kernel=5), 2]
    ds = faithfulness(network, IMAGES, target=target, method="saliency", points=2, groups=4)
    order = in_order(network, IMAGES)
    assert order[0] == "stem.conv"
    assert order[-1] == "fc"
    assert order.index("stage1.0.sk.select") < order.index("stage2.0.sk.convs.0.conv")
    found = ds["rank_correlation"]
    assert found["randomised"].values[-1] == "stem.conv"
    assert float(found.isel(randomised=0, target=1).max()) < 0.95
    assert float(found.isel(randomised=-1).max()) < 0.7
    # The first of four groups from above lies wholly behind the first unit.
    assert order.index(str(found["randomised"].values[0])) > order.index("stage1.0.sk.select")
    np.testing.assert_allclose(found.isel(randomised=0, target=0), 1, atol=1e-6)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 2, 3, 5, 5)).round(1)  # with ties
    expected = [
        [scipy.stats.spearmanr(a[t, i].ravel(), b[t, i].ravel()).statistic for i in range(3)]
        for t in range(2)
    ]
    np.testing.assert_allclose(rank_correlation(a, b), expected)


def test_scenes_must_be_rendered_first(network):
    scenes = skviz.place(skviz.objects(family="fxemoji")[[0]], canvas=24)
    with pytest.raises(AttributionError, match="render scenes first"):
        faithfulness(network, scenes)
