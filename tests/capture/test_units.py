import random

import pytest
import torch
from torch import nn
from zoo import Case, degenerates, negatives, positives, wrapped
from zoo.models import Body, Modules, Select, conv
from zoo.positives import mix

from skviz.capture import find_units
from skviz.errors import UnitError

FORMS, WRAPPED = list(positives()), list(wrapped())


def case(cases):
    return pytest.mark.parametrize("case", cases, ids=repr)


@case(FORMS)
def test_every_form_is_found_and_described(case: Case):
    (unit,) = find_units(case.model, *case.args, **case.kwargs)
    assert unit.name == case.unit_name
    assert unit.kernels == case.kernels
    assert unit.branches == case.branches
    assert unit.channels == case.channels
    assert unit.spatial == case.spatial
    assert unit.calls == case.calls
    assert not unit.degenerate
    assert unit.notes == ()


@case(WRAPPED)
def test_units_are_found_wherever_models_keep_them(case: Case):
    units = find_units(case.model, *case.args, **case.kwargs)
    assert len(units) == case.units
    assert not any(unit.degenerate for unit in units)
    if case.kernels is not None:
        assert {unit.kernels for unit in units} == {case.kernels}
    assert {unit.calls for unit in units} == {case.calls}
    if case.unit_name is not None:
        assert units.names == (case.unit_name,)


@case(list(negatives()))
def test_what_is_no_unit_is_not_found(case: Case):
    assert list(find_units(case.model, *case.args)) == []


@case(list(degenerates()))
def test_degenerate_units_are_reported_as_such(case: Case):
    (unit,) = find_units(case.model, *case.args)
    assert unit.degenerate
    assert unit.notes
    assert unit.kernels == case.kernels
    assert "degenerate" in str(find_units(case.model, *case.args))


def test_varying_branches_in_forward_order():
    case = next(case for case in WRAPPED if case.name.startswith("M differs"))
    units = find_units(case.model, *case.args)
    assert units.names == ("a", "b", "c")
    assert [unit.kernels for unit in units] == [(3, 5), (1, 3, 5), (3, 5, 7, 9)]


@pytest.mark.parametrize("name", ["skresnet18", "skresnet34", "skresnext50_32x4d"])
def test_timm(name):
    timm = pytest.importorskip("timm")
    model = timm.create_model(name, pretrained=False)
    units = find_units(model, torch.randn(1, 3, 64, 64))
    truth = [n for n, module in model.named_modules() if type(module).__name__ == "SelectiveKernel"]
    assert list(units.names) == truth
    # "5×5" is a 3×3 with dilation 2.
    assert {unit.kernels for unit in units} == {(3, 5)}


@pytest.mark.parametrize(
    ("options", "kernels"),
    [
        ({}, (3, 5)),
        ({"split_input": False}, (3, 5)),
        ({"keep_3x3": False}, (3, 5)),
        ({"kernel_size": [3, 5, 7], "split_input": False}, (3, 5, 7)),
        ({"kernel_size": [3, 3]}, (3, 3)),
        ({"kernel_size": [5, 7], "keep_3x3": False}, (5, 7)),
        ({"groups": 4, "stride": 2}, (3, 5)),
    ],
)
def test_timm_options(options, kernels):
    layers = pytest.importorskip("timm.layers")
    unit = layers.SelectiveKernel(32, 64, **options)
    (found,) = find_units(unit, torch.randn(2, 32, 16, 16))
    assert found.kernels == kernels
    assert found.channels == 64


def test_timm_features_only():
    timm = pytest.importorskip("timm")
    model = timm.create_model("skresnet18", pretrained=False, features_only=True)
    assert len(find_units(model, torch.randn(1, 3, 64, 64))) == 8


@pytest.mark.parametrize("name", ["sknet50", "resnestabc14"])
def test_pytorchcv(name):
    provider = pytest.importorskip("pytorchcv.model_provider")
    side = 224 if name == "sknet50" else 64  # its pool is of a fixed size
    units = find_units(provider.get_model(name), torch.randn(1, 3, side, side))
    assert len(units) == {"sknet50": 16, "resnestabc14": 4}[name]
    assert {unit.kernels for unit in units} == {(3, 5) if name == "sknet50" else (3, 3)}


@pytest.mark.parametrize(
    "name",
    ["resnet18", "densenet121", "mobilenet_v3_small", "efficientnet_b0", "swin_t", "googlenet"],
)
def test_torchvision_has_no_units(name):
    torchvision = pytest.importorskip("torchvision")
    options = {"init_weights": False} if name == "googlenet" else {}
    model = torchvision.models.get_model(name, weights=None, **options)
    assert len(find_units(model, torch.randn(1, 3, 64, 64))) == 0


def test_torchvision_segmentation_and_detection_have_no_units():
    tv = pytest.importorskip("torchvision.models")
    seg = tv.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
    assert len(find_units(seg, torch.randn(1, 3, 64, 64))) == 0
    vit = tv.vit_b_16(weights=None, image_size=32)
    assert len(find_units(vit, torch.randn(1, 3, 32, 32))) == 0


def _network() -> nn.Module:
    def unit() -> nn.Module:
        return Select(Modules(conv(3), conv(5)), 2, "channel", lambda f, z: mix(f, z.softmax(1)))

    return nn.Sequential(Body(nn.Sequential(unit(), unit(), unit())), nn.Dropout(0.5))


def test_the_model_comes_back_as_it_was():
    model = _network().train()
    model[0].sk[1].eval()
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    before = {
        "training": [module.training for module in model.modules()],
        "state": {key: value.clone() for key, value in model.state_dict().items()},
        "versions": [buffer._version for buffer in model.buffers()],
        "grad": [p.grad.clone() for p in model.parameters()],
        "rng": torch.get_rng_state(),
        "python": random.getstate(),
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()],
    }
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    kept = x.clone()
    assert len(find_units(model, x)) == 3
    assert [module.training for module in model.modules()] == before["training"]
    assert all(torch.equal(v, before["state"][k]) for k, v in model.state_dict().items())
    assert [buffer._version for buffer in model.buffers()] == before["versions"]
    assert all(map(torch.equal, (p.grad for p in model.parameters()), before["grad"]))
    assert torch.equal(torch.get_rng_state(), before["rng"])
    assert random.getstate() == before["python"]
    assert before["hooks"] == [
        (len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()
    ]
    assert torch.equal(x, kept)


def test_buffers_written_in_evaluation_are_put_back():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(()))
            self.inner = _network()

        def forward(self, x):
            self.count += 1
            return self.inner(x)

    model = Counting()
    find_units(model, torch.randn(1, 3, 8, 8))
    assert model.count == 0


def test_include_and_exclude():
    model, x = _network(), torch.randn(1, 3, 8, 8)
    assert find_units(model, x, include="0.sk.[01]").names == ("0.sk.0", "0.sk.1")
    assert find_units(model, x, exclude=["*.1", "*.2"]).names == ("0.sk.0",)


def test_units_are_a_readable_immutable_sequence():
    units = find_units(_network(), torch.randn(1, 3, 8, 8))
    assert units["0.sk.1"] is units[1]
    assert len(units[:2]) == 2
    assert units == units[:]
    table = str(units).splitlines()
    assert len(table) == 4
    assert table[0].split()[:3] == ["unit", "M", "kernels"]
    assert "<table>" in units._repr_html_()
    with pytest.raises(UnitError, match=r"no unit is called 'x'.*0\.sk\.0"):
        units["x"]
    with pytest.raises(AttributeError):
        units[0].name = "other"


def test_every_example_works_whatever_its_images():
    for x in (torch.zeros(1, 3, 8, 8), torch.ones(5, 3, 8, 8), torch.randn(2, 3, 8, 8)):
        assert len(find_units(_network(), x)) == 3


def test_errors_say_what_to_do():
    with pytest.raises(UnitError, match="needs an example input"):
        find_units(_network())
    with pytest.raises(UnitError, match="could not be run on the example"):
        find_units(_network(), torch.randn(1, 7, 8, 8))


def test_works_in_inference_mode():
    outside = _network()
    with torch.inference_mode():
        assert len(find_units(outside, torch.randn(1, 3, 8, 8))) == 3
        assert len(find_units(_network(), torch.randn(1, 3, 8, 8))) == 3
