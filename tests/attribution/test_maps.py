"""``attribute`` as a whole: completeness, where the object is, scales, and a model left alone."""

import copy
import warnings

import numpy as np
import pytest
import scipy.ndimage
import torch
from PIL import Image
from torch import nn

import skviz
from skviz.attribution.probe import rows_that_fit
from skviz.errors import AttributionError, DataError, SkvizError
from skviz.models.nn import SKNet

from .peer import mean_weight

LARGER = skviz.target.branch("stage2.1.sk", kernel=5)
LARGER_OF_SMALL = skviz.target.branch("stage1.0.sk", branch=1)


@pytest.mark.parametrize(("name", "unit"), [("objects", "stage1.1.sk"), ("objects-3", None)])
def test_integrated_gradients_are_complete(name, unit, scenes):
    model, images = skviz.load(name), scenes.render(1.0)[:2]
    unit = unit or skviz.find_units(model, images)[2].name
    ds = skviz.attribute(model, images, target=["predicted", skviz.target.branch(unit, branch=1)])
    baseline = images.mean((2, 3), keepdim=True).expand_as(images)
    weight = mean_weight(model, unit, 1)
    with torch.no_grad():
        classes = model(images).argmax(1)
        changes = [
            (model(images) - model(baseline))[range(2), classes],
            weight(images) - weight(baseline),
        ]
    for index, change in enumerate(changes):
        total = ds["attribution"][index].sum(("y", "x"), dtype=float)
        np.testing.assert_allclose(ds["delta"][index], total - change.numpy(), atol=1e-5)
        least = 0.01 * abs(ds["attribution"][index]).sum(("y", "x"), dtype=float)
        error = abs(total - change.numpy()) / np.maximum(abs(change.numpy()), least).clip(1e-4)
        np.testing.assert_allclose(ds["completeness_error"][index], error, atol=1e-3)
        assert float(error.max()) <= 0.01


class Cubic(torch.nn.Module):
    """One logit: a factor times the cube of the mean of the left half, less that of the right."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor).double())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = (half.mean((1, 2, 3)) ** 3 for half in x.chunk(2, 3))
        return (self.factor * (left - right))[:, None]


@pytest.mark.parametrize("factor", [1.0, 1e-3, 2e-4])
def test_a_small_change_is_missed_by_as_much_as_a_large_one(factor):
    """One step takes three quarters of the integral of a derivative that is a square."""
    images = torch.ones(1, 3, 4, 4, dtype=torch.double)
    images[..., 2:] = 0
    asked = {"target": 0, "baseline": 0.0, "steps": 1}
    with pytest.raises(AttributionError, match="misses completeness by 25%"):
        skviz.attribute(Cubic(factor), images, **asked)
    # Where nearly all cancels out, 1 % of what does not; and what float32 cannot tell is no error.
    images[..., 2:] = 0.99999
    ds = skviz.attribute(Cubic(1.0), images, **asked)
    change = 1 - 0.99999**3
    size = 0.01 * 0.75 * (1 + 0.99999**3)
    assert float(ds["completeness_error"].item()) == pytest.approx(change / 4 / size, rel=1e-6)
    ds = skviz.attribute(Cubic(1e-7), images, **asked)
    assert float(ds["completeness_error"].item()) < 1e-4


class Bend(torch.nn.Module):
    """The mean of the left half times relu(left + right − bend), and a step of the mean."""

    bend = 0.7031

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.rows += len(x)
        left, right = (half.mean((1, 2, 3)) for half in x.chunk(2, 3))
        step = torch.sigmoid(1000 * (left - self.bend))
        return torch.stack([left * (left + right - self.bend).relu(), step], 1)


def test_steps_are_put_where_they_are_needed():
    """Of both the integral is known."""
    model, images = Bend(), torch.ones(1, 3, 4, 4, dtype=torch.double)
    ds = skviz.attribute(model, images, target=[0, 1], baseline=0.0)
    start = model.bend / 2
    right = (1 - start**2) / 2  # of the place on the line
    left = 3 * right - model.bend * (1 - start)
    found = ds["attribution"].isel(image=0)
    halves = [found[:, :, :2].sum(("y", "x")), found[:, :, 2:].sum(("y", "x"))]
    np.testing.assert_allclose(halves, [[left, 1], [right, 0]], atol=0.01)
    assert model.rows < 400  # equal parts as short as the shortest would be 256, of four each
    with pytest.raises(AttributionError, match="misses completeness"):
        skviz.attribute(model, images, target=[0, 1], baseline=0.0, steps=model.rows // 4)


def test_too_few_steps_are_refused(shipped):
    with pytest.raises(AttributionError, match=r"target 'predicted class', image \d.*more steps"):
        skviz.attribute(shipped.model, shipped.images, steps=1)


def test_inside_and_area(shipped, scenes):
    ds = skviz.attribute(shipped.model, scenes, target=[1, "predicted"], method="saliency")
    mask = scenes.mask(1.0).double().numpy()
    size = abs(ds["attribution"].isel(scale=0).values.astype(float))  # (target, image, y, x)
    np.testing.assert_allclose(
        ds["inside"].isel(scale=0), (size * mask).sum((2, 3)) / size.sum((2, 3)), rtol=1e-5
    )
    np.testing.assert_allclose(ds["area"].isel(scale=0), mask.mean((1, 2)), rtol=1e-6)
    plain = skviz.attribute(
        shipped.model,
        shipped.images,
        target=[1, "predicted"],
        method="saliency",
        mask=torch.tensor(mask),
    )
    np.testing.assert_allclose(plain["inside"], ds["inside"].isel(scale=0), rtol=1e-5)
    unknown = skviz.attribute(shipped.model, shipped.images, method="saliency")
    assert np.isnan(unknown["inside"]).all()
    assert np.isnan(unknown["area"]).all()
    assert np.isnan(unknown["delta"]).all()


@pytest.mark.parametrize("method", ["saliency", "smoothgrad"])
def test_scales_are_as_if_asked_one_by_one(small_net, scenes, method):
    options = {
        "target": ["predicted", skviz.target.branch("stage2.0.sk", kernel=5)],
        "method": method,
    }
    options |= {"samples": 3} if method == "smoothgrad" else {}
    ds = skviz.attribute(small_net, scenes, scales=[0.5, 1.0, 2.0], **options)
    assert ds["attribution"].dims == ("target", "image", "scale", "y", "x")
    assert list(ds["image"].values) == list(scenes.ids)
    for scale in (0.5, 2.0):
        alone = skviz.attribute(small_net, scenes, scales=[scale], **options)
        plain = skviz.attribute(small_net, scenes.render(scale), **options)
        for name in ("attribution", "value"):
            here = ds[name].sel(scale=scale)
            np.testing.assert_allclose(alone[name].sel(scale=scale), here, atol=1e-7)
            np.testing.assert_allclose(plain[name], here, atol=1e-7)


def test_the_background_as_baseline(small_net, scenes):
    ds = skviz.attribute(small_net, scenes, baseline="background", target=1, check="warn")
    with torch.no_grad():
        change = small_net(scenes.render(1.0))[:, 1] - small_net(scenes.layers.backgrounds)[:, 1]
    total = ds["attribution"][0, :, 0].sum(("y", "x"))
    np.testing.assert_allclose(total, change, rtol=0.01, atol=1e-4)  # what it refines to


def test_a_blurred_baseline_is_that_of_scipy(shipped):
    side = shipped.images.shape[-1]
    blurred = scipy.ndimage.gaussian_filter(
        shipped.images.numpy(), (0, 0, side / 8, side / 8), truncate=3, mode="mirror"
    )
    found, expected = (
        skviz.attribute(shipped.model, shipped.images, baseline=baseline, method="occlusion",
                        window=16, target=1)["attribution"]
        for baseline in ("blur", torch.from_numpy(blurred))
    )  # fmt: skip
    np.testing.assert_allclose(found, expected, atol=1e-6 * float(abs(expected).max()))


@pytest.mark.filterwarnings("ignore:.* misses completeness")
@pytest.mark.parametrize("method", ["input_x_gradient", "integrated_gradients", "occlusion"])
def test_the_order_of_images_whatever_fits(shipped, scenes, method, monkeypatch):
    """In float64: in float32 another size of batch rounds otherwise, and a ReLU may flip."""
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    images = torch.cat([scenes.render(0.7), scenes.render(1.4)])[order].double()
    classes = [5, 4, 3, 2, 1, 0]
    options = {"integrated_gradients": {"steps": 3}, "occlusion": {"window": 8}}.get(method, {})

    def run():
        return skviz.attribute(
            shipped.model,
            images,
            target=[skviz.target.classes(classes), skviz.target.branch("stage2.1.sk", kernel=5)],
            method=method,
            baseline=0.5,
            mask=torch.rand(6, 32, 32, generator=torch.Generator().manual_seed(0)),
            check="warn",
            **options,
        )

    whole = run()
    monkeypatch.setattr("skviz.attribution.probe.MOST_ROWS", 3)
    parts = run()
    size = float(abs(whole["attribution"]).max())
    for name in ("attribution", "value", "inside", "area"):
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-6, atol=1e-9 * size)
    values = shipped.model(images)[range(6), classes].detach()
    np.testing.assert_allclose(whole["value"][0], values, rtol=1e-9)


EVERY = {
    "saliency": {},
    "input_x_gradient": {},
    "integrated_gradients": {"steps": 2},
    "gradient_shap": {"samples": 2, "noise": 0.1},
    "smoothgrad": {"samples": 2},
    "occlusion": {"window": 16},
    "feature_ablation": {},
    "grad_cam": {"kernel": 3},
    "deep_lift": {},
    "guided_backprop": {},
}


@pytest.mark.filterwarnings("ignore:.* misses completeness")
@pytest.mark.parametrize("method", EVERY)
def test_the_model_comes_back_as_it_was(small_net, scenes, method):
    model = copy.deepcopy(small_net).train()
    model.stage1.eval()
    next(model.parameters()).requires_grad_(False)
    model.fc.weight.grad = torch.ones_like(model.fc.weight)

    def everything():
        return [
            [module.training for module in model.modules()],
            [(p.requires_grad, p.grad is None) for p in model.parameters()],
            [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
            [len(m._backward_hooks) + len(m._backward_pre_hooks) for m in model.modules()],
            torch.get_rng_state().tolist(),
            [tensor.tolist() for tensor in model.state_dict().values()],
            torch.is_grad_enabled(),
        ]

    before = everything()
    options = EVERY[method] | {"method": method, "check": "warn", "target": [1, "predicted"]}
    with torch.no_grad():
        try:
            ds = skviz.attribute(model, scenes, **options)
        except AttributionError as refused:
            assert method == "guided_backprop", refused  # noqa: PT017 (its hooks too are gone)
        else:
            assert ds["attribution"].any()
    assert everything() == before
    assert bool((model.fc.weight.grad == 1).all())


def test_gradients_are_taken_wherever_it_is_called(small_net, scenes):
    images = scenes.render(1.0)
    expected = skviz.attribute(small_net, images, target=1, method="saliency")
    with torch.inference_mode():
        found = skviz.attribute(small_net, images + 0, target=1, method="saliency")
    np.testing.assert_array_equal(found["attribution"], expected["attribution"])


def test_a_larger_network_gets_fewer_rows(monkeypatch):
    monkeypatch.setattr("skviz.attribution.probe.BUDGET", 64 * 2**20)
    monkeypatch.setattr("skviz.attribution.probe.MOST_ROWS", 10**6)

    class Squares(nn.Module):
        """What is kept is known: the input of each squaring."""

        def __init__(self, count: int) -> None:
            super().__init__()
            self.count = count

        def forward(self, rows, image):  # noqa: ARG002
            for _ in range(self.count):
                rows = rows**2
            return rows

    row = torch.rand(1, 3, 32, 32)
    for count in (1, 10, 100):
        assert rows_that_fit(Squares(count), row) == 64 * 2**20 // (2 * count * row.nbytes)
    assert rows_that_fit(Squares(10), torch.rand(1, 3, 1024, 1024)) == 1


REFUSED = [
    ({"method": "gradcam"}, "method 'gradcam' is not known; use one of saliency"),
    ({"method": "saliency", "steps": 3}, "has no option 'steps'; it takes no options"),
    ({"stepps": 3}, "has no option 'stepps'; it takes steps"),
    ({"steps": 0}, "steps must be a whole number from 1 to"),
    ({"method": "smoothgrad", "samples": 1.5}, "samples must be"),
    ({"method": "smoothgrad", "noise": -0.1}, "noise must be"),
    ({"method": "gradient_shap", "noise": "much"}, "noise must be"),
    ({"method": "occlusion", "window": 0}, "window must be"),
    ({"method": "occlusion", "window": 33}, "larger than the image"),
    ({"method": "occlusion", "window": 4, "stride": 5}, "leaves gaps"),
    ({"method": "feature_ablation"}, "where the object is"),
    ({"baseline": "black"}, "a baseline is 'mean'"),
    ({"baseline": "background"}, "a baseline is 'mean'"),
    ({"baseline": True}, "baseline must be .* got True"),
    ({"baseline": torch.zeros(2, 3, 32, 32)}, r"\(2, 3, 32, 32\), does not fit the images"),
    ({"baseline": torch.zeros(3, 16, 16)}, "does not fit the images"),
    (
        {"method": "gradient_shap", "baseline": torch.zeros(5, 3, 8, 8)},
        "does not fit the images",
    ),
    ({"mask": torch.zeros(2, 32, 32)}, r"mask must be \(3, 32, 32\)"),
    ({"mask": torch.full((3, 32, 32), 255)}, r"lie in 0…1"),
    ({"mask": torch.full((3, 32, 32), torch.nan)}, r"lie in 0…1"),
    ({"check": "ignore"}, "check must be 'raise' or 'warn'"),
    ({"scales": [1.0]}, "scales are for scenes"),
]


@pytest.mark.parametrize(("options", "match"), REFUSED)
def test_what_cannot_be_asked(small_net, shipped, options, match):
    with pytest.raises(AttributionError, match=match):
        skviz.attribute(small_net, shipped.images, **options)


def test_images_that_cannot_be_attributed(small_net, scenes):
    images = scenes.render(1.0)
    for wrong in ((images * 255).byte(), images[0], images[:0]):
        with pytest.raises(SkvizError, match="images as floats"):
            skviz.attribute(small_net, wrong)
    with pytest.raises(AttributionError, match="scenes know"):
        skviz.attribute(small_net, scenes, mask=torch.zeros(3, 32, 32))
    with pytest.raises(SkvizError, match="increasing"):
        skviz.attribute(small_net, scenes, scales=[])
    with pytest.raises(SkvizError, match="not finite"):
        skviz.attribute(small_net, images * torch.nan)


def test_half_precision(small_net, scenes):
    half = copy.deepcopy(small_net).bfloat16()
    images = scenes.render(1.0)
    for method in ("integrated_gradients", "gradient_shap", "deep_lift"):
        with pytest.raises(AttributionError, match=r"bfloat16 cannot hold; use model\.float"):
            skviz.attribute(half, images, method=method)
    found, expected = (
        skviz.attribute(model, images, target=1, method="saliency")["attribution"]
        for model in (half, small_net)
    )
    assert float(np.corrcoef(found.values.ravel(), expected.values.ravel())[0, 1]) > 0.9


def test_what_is_given_for_each_image_stays_with_it_in_any_batch(shipped, scenes):
    """Classes, masks, baselines and what is drawn are of images, not of places in a batch."""
    model, images = copy.deepcopy(shipped.model).double(), scenes.render(1.0).double()
    own = torch.rand(images.shape, generator=torch.Generator().manual_seed(0)).to(images)
    classes = skviz.target.classes(range(3, 3 + len(images)))
    asked = {"target": [classes, "predicted", LARGER], "check": "warn", "progress": False}
    for baseline, options in (
        (torch.stack([own, own.flip(0)]), {"method": "gradient_shap", "samples": 4, "noise": 0.1}),
        (own[:2], {"method": "gradient_shap", "samples": 4}),  # a distribution
        (own[0], {"method": "integrated_gradients", "steps": 3}),
        (own, {"method": "integrated_gradients", "steps": 3}),
    ):
        options |= asked | {"baseline": baseline, "mask": scenes.mask(1.0)}
        with warnings.catch_warnings(action="ignore"):
            whole = skviz.attribute(model, images, **options)
            parts = skviz.attribute(model, images, batch=2, chunk=3, **options)
        for name in whole.data_vars:
            np.testing.assert_allclose(parts[name], whole[name], atol=1e-7, err_msg=name)
    with pytest.raises(AttributionError, match="one for each image"):
        skviz.attribute(model, images, target=skviz.target.classes([3]), batch=1)


def test_the_background_of_objects_in_files(small_net, tmp_path):
    """What is behind them is known, though they are read one by one, and skipped if they must."""
    generator = np.random.default_rng(0)
    for name in "abc":
        mask = np.zeros((48, 48), np.uint8)
        mask[14:34, 16:32] = 255
        picture = generator.integers(0, 255, (48, 48, 3), np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
        Image.fromarray(mask).save(tmp_path / f"{name}.mask.png")
    shown = skviz.photographs(tmp_path).cut_out(canvas=32)
    asked = {"method": "integrated_gradients", "steps": 4, "check": "warn", "progress": False}
    asked |= {"target": LARGER_OF_SMALL, "scales": [0.5, 1.0]}
    with warnings.catch_warnings(action="ignore"):
        whole = skviz.attribute(small_net, shown, baseline="background", **asked)
        behind = shown.layers.backgrounds
        alone = skviz.attribute(small_net, shown, baseline=behind, **asked)
        np.testing.assert_allclose(whole["attribution"], alone["attribution"], atol=1e-7)
        (tmp_path / "b.png").write_text("no picture")
        some = skviz.attribute(small_net, shown, baseline="background", on_error="skip", **asked)
    assert [bool(why) for why in some["problem"].values] == [False, True, False]
    assert some["attribution"].isel(image=1).isnull().all()
    for image in (0, 2):
        here, there = (ds["attribution"].isel(image=image) for ds in (some, whole))
        np.testing.assert_allclose(here, there, atol=1e-6)


def test_a_store_of_maps_is_of_its_baseline_and_mask(small_net, tmp_path):
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    asked = {"method": "saliency", "target": LARGER_OF_SMALL, "store": tmp_path / "m.zarr"}
    asked |= {"progress": False, "mask": torch.ones(3, 32, 32)}
    skviz.attribute(small_net, images, baseline=torch.zeros(3, 32, 32), **asked)
    skviz.attribute(small_net, images, baseline=torch.zeros(3, 32, 32), **asked)
    with pytest.raises(DataError, match="another study"):
        skviz.attribute(small_net, images, baseline=torch.ones(3, 32, 32), **asked)
    with pytest.raises(DataError, match="another study"):
        asked["mask"] = torch.zeros(3, 32, 32)
        skviz.attribute(small_net, images, baseline=torch.zeros(3, 32, 32), **asked)
    with pytest.raises(AttributionError, match="no option 'store'"):
        skviz.faithfulness(small_net, images, store=tmp_path / "f.zarr")


def test_a_network_that_was_never_looked_at_computes_in_its_own_precision(scenes):
    model = SKNet((1,), (16,), num_classes=3, groups=1).double().eval()
    target = skviz.target.difference("stage1.0.sk")
    ds = skviz.attribute(model, scenes.render(1.0), target=target, method="saliency")
    assert ds["target"].values.tolist() == ["stage1.0.sk attention difference"]
