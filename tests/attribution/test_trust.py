"""Deletion, insertion and randomisation against recomputations by hand."""

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

import skviz
from skviz.attribution import faithfulness
from skviz.attribution.trust import in_order, rank_correlation
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


def test_scenes_are_tested_as_their_pictures_are(network):
    scenes = skviz.place(skviz.objects(family="fxemoji")[[0, 9]], canvas=24)
    asked = {"target": [3, skviz.target.difference("stage2.0.sk")], "method": "input_x_gradient"}
    options = asked | {"points": 3, "groups": 2}
    ds = faithfulness(network, scenes, scales=[0.5, 1.0], baseline="background", **options)
    backgrounds = scenes.layers.backgrounds
    for scale in (0.5, 1.0):
        images = scenes.render(scale)
        own = faithfulness(network, images, baseline=backgrounds, **options)
        for name in ("deletion", "insertion", "rank_correlation", "class_correlation"):
            here = ds[name].sel(scale=scale).transpose(*own[name].dims)
            np.testing.assert_allclose(here, own[name], rtol=1e-5, atol=1e-6)
    assert ds["image"].values.tolist() == list(scenes.ids)
    with pytest.raises(skviz.SkvizError, match=r"choose one: ds.sel\(scale=\[1.0\]\)"):
        skviz.plot.faithfulness(ds)
    figure = skviz.plot.faithfulness(ds.sel(scale=[1.0]))
    mean = float(ds["class_correlation"].sel(scale=1.0, target="class 3").mean())
    assert f"map of another class: {mean:+.2f} (class 3)." in skviz.caption(figure)


def test_curves_beside_a_loop_over_pixels(network):
    """A second implementation: one picture, one pixel after the other, as it is defined."""
    ds = faithfulness(network, IMAGES[:2], target=2, method="saliency", points=4, groups=0)
    for number, image in enumerate(IMAGES[:2]):
        own = ds["attribution"].values[0, number].ravel()
        order = sorted(range(len(own)), key=lambda pixel: -own[pixel])
        grey = image.mean((1, 2))
        for step in range(5):
            deleted, inserted = image.clone(), grey[:, None, None].repeat(1, 24, 24)
            for pixel in order[: round(len(order) * step / 4)]:
                row, column = divmod(pixel, 24)
                deleted[:, row, column] = grey
                inserted[:, row, column] = image[:, row, column]
            with torch.no_grad():
                values = network(torch.stack([deleted, inserted]))[:, 2]
            here = ds.isel(target=0, image=number, fraction=step).sel(order="attribution")
            assert float(here["deletion"]) == pytest.approx(float(values[0]), abs=1e-5)
            assert float(here["insertion"]) == pytest.approx(float(values[1]), abs=1e-5)


def test_the_map_of_another_class(linear):
    """Of two classes there is one other; what is no class has none."""
    ds = faithfulness(linear, IMAGES, target=1, method="input_x_gradient", points=1, groups=0)
    parts = (linear.fc.weight.detach().reshape(2, 1, 3, 24, 24) * IMAGES).sum(2).flatten(2)
    for image in range(3):
        expected = scipy.stats.spearmanr(*parts[:, image].numpy()).statistic
        assert float(ds["class_correlation"][0, image]) == pytest.approx(expected, abs=1e-5)
    branch = skviz.target.branch("stage1.0.sk", kernel=5)
    torch.manual_seed(0)
    net = SKNet((1,), (8,), num_classes=5, stem_channels=8, stem_stride=2, groups=1, L=8).eval()
    ds = faithfulness(net, IMAGES, target=[branch, 4], method="saliency", points=1, groups=0)
    assert np.isnan(ds["class_correlation"][0]).all()
    assert (abs(ds["class_correlation"][1]) < 1 - 1e-6).all()
