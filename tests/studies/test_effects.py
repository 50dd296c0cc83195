from itertools import product

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import skviz
from skviz.capture.interventions import force
from skviz.errors import SkvizError, UnitError
from skviz.models.card import Card
from skviz.models.nn import SKNet, split
from skviz.studies.effects import effect
from skviz.studies.swaps import fitted, swap

SCALES = [0.5, 1.0, 2.0]
UNITS = ["stage1.0.sk", "stage2.0.sk"]


@pytest.fixture(scope="module")
def scenes(few):
    return skviz.place(few, canvas=32)


@pytest.fixture(scope="module")
def net(few) -> SKNet:
    """Two and three branches in different units, and categories of its own."""
    torch.manual_seed(1)
    options = {"num_classes": 5, "stem_channels": 8, "stem_stride": 2, "groups": 2}
    model = SKNet((1, 1), (8, 16), **options)
    model.stage2 = SKNet((1, 1), (8, 16), kernels=(3, 5, 7), **options).stage2
    for unit in (model.stage1[0].sk, model.stage2[0].sk):
        nn.init.normal_(unit.select.weight, std=3.0)  # selections that matter
    model.card = Card("small", {}, tuple(sorted(few.category)), 32)
    return model.eval()


@pytest.fixture(scope="module")
def measured(net, scenes) -> xr.Dataset:
    interventions = {"3×3": force(kernel=3), "uniform": "uniform", "large": swap(scale=2.0)}
    return effect(net, scenes, interventions, scales=SCALES, batch=2)


def by_hand(net: SKNet, images: torch.Tensor, mixes: dict[str, object]) -> np.ndarray:
    """Class probabilities with ``forward`` of each unit named written anew."""
    replaced = [net.get_submodule(name) for name in mixes]
    for module, mix in zip(replaced, mixes.values(), strict=True):
        module.forward = lambda x, module=module, mix=mix: mix(split(module.convs, x)[0])
    try:
        with torch.no_grad():
            return net(images).softmax(1).numpy()
    finally:
        for module in replaced:
            del module.forward


def agree(found: xr.Dataset, expected: np.ndarray, net: SKNet) -> None:
    """``found`` (image,) and ``expected`` (image, class)."""
    truth = [net.card.categories.index(c) for c in found["category"].values]
    own = expected[range(len(truth)), truth]
    np.testing.assert_allclose(found["category_probability"].values, own, atol=1e-5)
    np.testing.assert_allclose(found["probability"].values, expected.max(1), atol=1e-5)
    np.testing.assert_array_equal(found["prediction"].values, expected.argmax(1))
    np.testing.assert_array_equal(found["correct"].values, expected.argmax(1) == truth)


def test_layout(measured, few):
    assert measured["category_probability"].dims == ("intervention", "unit", "image", "scale")
    assert measured["intervention"].values.tolist() == ["natural", "3×3", "uniform", "large"]
    assert measured["unit"].values.tolist() == [*UNITS, "all"]
    assert measured["image"].values.tolist() == list(few.ids)
    assert measured["category"].values.tolist() == list(few.category)
    assert measured["scale"].values.tolist() == SCALES
    assert measured.attrs["model"] == "small"
    assert measured.attrs["protocol"] == "rescale"


def test_natural_is_what_a_sweep_says(measured, net, scenes):
    swept = skviz.sweep(net, scenes, scales=SCALES, batch=2)
    for unit, name in product([*UNITS, "all"], ["probability", "prediction", "correct"]):
        here = measured[name].sel(intervention="natural", unit=unit)
        np.testing.assert_array_equal(here.values, swept[name].values)
    said = {**swept.attrs, "study": "effect"}
    assert {k: measured.attrs.get(k, v) for k, v in said.items()} == said


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("unit", [*UNITS, "all"])
def test_each_intervention_is_what_plain_torch_computes(measured, net, scenes, unit, scale):
    images = scenes.render(scale)
    chosen = UNITS if unit == "all" else [unit]
    for name, mix in {
        "3×3": lambda branches: branches[0],
        "uniform": lambda branches: sum(branches) / len(branches),
    }.items():
        here = measured.sel(intervention=name, unit=unit, scale=scale)
        agree(here, by_hand(net, images, dict.fromkeys(chosen, mix)), net)


@pytest.mark.parametrize("unit", [*UNITS, "all"])
def test_a_swap_brings_the_selection_of_the_other_scale(measured, net, scenes, unit):
    logits = {}
    handles = [
        net.get_submodule(name).select.register_forward_hook(
            lambda _m, _i, out, name=name: logits.update({name: out})
        )
        for name in UNITS
    ]
    with torch.no_grad():
        net(scenes.render(2.0))
    for handle in handles:
        handle.remove()

    def mixer(name):
        def mix(branches):
            weights = logits[name].view(len(logits[name]), len(branches), -1, 1, 1).softmax(1)
            return sum(branch * weights[:, i] for i, branch in enumerate(branches))

        return mix

    mixes = {name: mixer(name) for name in (UNITS if unit == "all" else [unit])}
    here = measured.sel(intervention="large", unit=unit)
    agree(here.sel(scale=0.5), by_hand(net, scenes.render(0.5), mixes), net)
    natural = measured["probability"].sel(intervention="natural", unit=unit)
    moved = np.abs(here["probability"] - natural)
    assert moved.sel(scale=2.0).max() < 1e-6  # its own selection
    assert moved.sel(scale=0.5).min() > 1e-6


def test_a_mapping_says_something_else_of_each_unit(measured, net, scenes):
    each = {"stage1.0.sk": "uniform", "stage2.0.sk": force(branch=2)}
    ds = effect(net, scenes, {"each": each}, scales=[1.0])
    by_unit = ds["probability"].sel(intervention="each", scale=1.0)
    uniform = measured["probability"].sel(intervention="uniform", unit="stage1.0.sk", scale=1.0)
    np.testing.assert_allclose(by_unit.sel(unit="stage1.0.sk"), uniform, atol=1e-6)
    last = by_hand(net, scenes.render(1.0), {"stage2.0.sk": lambda branches: branches[2]})
    np.testing.assert_allclose(by_unit.sel(unit="stage2.0.sk"), last.max(1), atol=1e-5)
    only = effect(net, scenes, {"each": each}, scales=[1.0], units=UNITS[1:])
    assert only["unit"].values.tolist() == [UNITS[1], "all"]
    np.testing.assert_allclose(only["probability"][1, 1, :, 0], last.max(1), atol=1e-5)


def test_a_model_of_unknown_categories_in_training_comes_back_as_it_was(scenes):
    model = SKNet((1,), (8,), num_classes=3, stem_channels=8, stem_stride=2, groups=2).train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    ds = effect(model, scenes, {"swapped": swap(scale=1.5)}, scales=[1.0])
    assert set(ds.data_vars) == {"prediction", "probability", "area", "content", "problem"}
    with pytest.raises(UnitError, match="kernels \\(3, 5\\), not 9"):
        effect(model, scenes, {"9×9": force(kernel=9)}, scales=[1.0])
    assert all(module.training for module in model.modules())
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]


class Mix(nn.Module):
    """One unit, written as somebody would."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, 3, k, padding=k // 2) for k in (1, 3))
        self.head = nn.Linear(3, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branches = torch.stack([conv(x) for conv in self.convs], 1)  # (B, M, C, H, W)
        logits = 5 * self.head(branches.sum(1).mean((2, 3))).unflatten(1, (2, 3))
        return (branches * logits.softmax(1)[..., None, None]).sum(1)


def test_a_swap_keeps_the_calls_of_a_unit_apart(scenes):
    mix = Mix()
    model = nn.Sequential(mix, nn.ReLU(), mix, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    ds = effect(model, scenes, {"same": swap(scale=1.0)}, scales=[1.0, 2.0])
    assert ds["unit"].values.tolist() == ["0", "all"]
    natural, same = ds["probability"].sel(unit="all")
    np.testing.assert_allclose(natural.sel(scale=1.0), same.sel(scale=1.0), atol=1e-6)
    assert np.abs(natural - same).sel(scale=2.0).max() > 1e-6


@pytest.mark.parametrize(
    ("interventions", "options", "message"),
    [
        ({"natural": "uniform"}, {}, "rename yours"),
        ({"each": {"stage1.0.sk": "uniform"}}, {}, "leaves out unit 'stage2.0.sk'"),
        ({"odd": "odd"}, {}, "an intervention is"),
        ({"even": "uniform"}, {"scales": [2.0, 1.0]}, "increasing"),
        ({"huge": swap(scale=9.0)}, {}, "largest scale"),
    ],
)
def test_mistakes(net, scenes, interventions, options, message):
    with pytest.raises(SkvizError, match=message):
        effect(net, scenes, interventions, **{"scales": [1.0]} | options)


def probability_with(net, images: torch.Tensor, given: dict[str, torch.Tensor], few) -> np.ndarray:
    """Probability of each category when these weights are put in place of the units' own."""
    with torch.no_grad(), skviz.intervene(net, given):
        found = net(images).softmax(1)
    truth = [net.card.categories.index(c) for c in few.category]
    return found[range(len(truth)), truth].numpy()


def test_weights_of_the_same_object_elsewhere_and_of_another_as_large(net, few, scenes):
    """Scenes placed anew by hand give the donors; batches do not matter."""
    changes = {"elsewhere": swap(background=True), "other": swap(object=True)}
    found = effect(net, scenes, changes, scales=[0.5, 1.5], batch=2)
    rolled = scenes.layers.backgrounds.roll(-1, 0)
    following = skviz.place(few[[1, 2, 3, 4, 0]], canvas=32, backgrounds=scenes.layers.backgrounds)
    donors = {"elsewhere": skviz.place(few, canvas=32, backgrounds=rolled), "other": following}
    for name, donor in donors.items():
        for scale in (0.5, 1.5):
            with torch.no_grad(), skviz.record(net) as recording:
                net(donor.render(scale))
            expected = probability_with(net, scenes.render(scale), recording.weights, few)
            here = found["category_probability"].sel(intervention=name, unit="all", scale=scale)
            np.testing.assert_allclose(here, expected, atol=1e-5)


def test_a_swap_is_split_into_its_mean_and_its_pattern(net, few, scenes):
    """Only the branches' means, or only what is left without them, against solved logits."""
    changes = {part: swap(scale=2.0, part=part) for part in ("mean", "pattern")}
    found = effect(net, scenes, changes, scales=[0.5], units=UNITS[:1])
    images = scenes.render(0.5)
    with torch.no_grad(), skviz.record(net, UNITS[:1]) as recording:
        net(images)
        net(scenes.render(2.0))
    own, large = recording.weights[UNITS[0]].double().chunk(2)  # (image, 2, channel)

    def moved(weights: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Two branches: the same addition to every channel's log-odds, found by bisection."""
        odds, aim = weights[:, 1].logit(), like[:, 1].mean(1, keepdim=True)
        low, high = torch.full_like(aim, -30), torch.full_like(aim, 30)
        for _ in range(80):
            middle = (low + high) / 2
            under = (odds + middle).sigmoid().mean(1, keepdim=True) < aim
            low, high = torch.where(under, middle, low), torch.where(under, high, middle)
        larger = (odds + low).sigmoid()
        return torch.stack([1 - larger, larger], 1).float()

    for part, weights in (("mean", moved(own, large)), ("pattern", moved(large, own))):
        expected = probability_with(net, images, {UNITS[0]: weights}, few)
        here = found["category_probability"].sel(intervention=part, unit="all", scale=0.5)
        np.testing.assert_allclose(here, expected, atol=1e-4)


def test_three_branches_are_split_too():
    rng = torch.Generator().manual_seed(0)
    own, like = (torch.randn(2, 3, 8, generator=rng).mul(2).softmax(1) for _ in range(2))
    found = fitted(own, like)
    torch.testing.assert_close(found.sum(1), torch.ones(2, 8))
    torch.testing.assert_close(found.mean(2), like.mean(2), atol=1e-4, rtol=0)
    change = (found / own).log()
    change = change - change.mean(1, keepdim=True)  # what is added to the logits of a branch
    assert float(change.std(2).max()) < 1e-4


def test_swaps_that_are_none(net, few):
    for wrong in ({}, {"scale": 2.0, "part": "half"}):
        with pytest.raises(SkvizError, match=r"swap with what|part must be 'all' or"):
            swap(**wrong)
    plain = skviz.place(few, canvas=32, backgrounds=torch.zeros(1, 3, 32, 32))
    with pytest.raises(SkvizError, match="different backgrounds"):
        effect(net, plain, {"swap": swap(background=True)}, scales=[1.0])
    alike = skviz.place(few[[0, 0]], canvas=32)
    with pytest.raises(SkvizError, match="two categories"):
        effect(net, alike, {"swap": swap(object=True)}, scales=[1.0])
