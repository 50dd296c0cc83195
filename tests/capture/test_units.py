import copy
import math
import random
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from zoo import (
    Case,
    asked_for,
    degenerates,
    held_back,
    held_back_again,
    literature,
    negatives,
    not_asked_for,
    positives,
    wrapped,
)
from zoo.models import Body, C, Modules, Select, conv
from zoo.negatives import Parts
from zoo.positives import every_branch, mix

import skviz
from skviz.capture import find_units, finding, select, units_of
from skviz.capture.kernels import branch_kernels
from skviz.capture.probe import probe
from skviz.capture.recording import record
from skviz.errors import UnitError

FORMS, WRAPPED = list(positives()), list(wrapped())
OTHERS = [*literature(), *held_back(), *held_back_again()]


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


@case([case for case in OTHERS if case.units])
def test_forms_of_the_literature_are_found_by_default(case: Case):
    units = find_units(case.model, *case.args)
    assert [(unit.kind, unit.kernels) for unit in units] == [(case.kind, case.kernels)]
    assert bool(units[0].unknown) == (case.kernels is None)
    is_recorded(case)


@case(list(asked_for()))
def test_gates_that_keep_a_state_and_mixtures_are_found_when_asked_for(case: Case):
    is_recorded(case)
    (seen,) = find_units(case.model, *case.args).rejected
    assert seen.why.endswith(f"see kind={case.kind!r}")


def is_recorded(case: Case) -> None:
    (unit,) = find_units(case.model, *case.args, kind=case.kind)
    assert unit.kind == case.kind
    assert (unit.branches, unit.channels, unit.spatial) == (
        case.branches,
        case.channels,
        case.spatial,
    )
    with torch.no_grad(), record(case.model, [unit]) as recording:
        case.model(*case.args)
    (weights,) = recording.weights.values()
    torch.testing.assert_close(weights, case.true_weights(*case.args).float())


def test_near_misses_say_why_they_are_none():
    reasons = {
        "LSKNet: a sigmoid for each branch": "each is a sigmoid of its own",
        "two separate sigmoid gates": "each is a sigmoid of its own",
        "scores over their sum and a little more": "they sum to about 0.5, not to one",
        "selection between vectors": "its branches are vectors, not maps",
        "experts in one matrix, routed by tokens": "at what goes into the branches",
        "highway": "one branch is a previous state, or what came in, untouched; see kind='state'",
    }
    for case in [*OTHERS, *negatives(), *not_asked_for()]:
        if case.name in reasons:
            reason = reasons.pop(case.name)
            units = find_units(case.model, *case.args)
            (seen,) = units.rejected
            assert reason in seen.why
            assert f"not a unit: (the model itself): {seen.why}" in str(units)
            assert "not a unit" in units._repr_html_()
            with pytest.raises(UnitError, match=re.escape(reason)):
                units_of(case.model, *case.args)
            assert find_units(case.model, *case.args, exclude="").rejected == ()
    assert not reasons


def test_one_odd_candidate_leaves_the_others(monkeypatch):
    model, x = _network(), torch.randn(1, 3, 8, 8)

    def kernels(sources, origins, owner):
        if owner.name == "0.sk.1":
            raise IndexError("something odd")
        return branch_kernels(sources, origins, owner)

    monkeypatch.setattr(select, "branch_kernels", kernels)
    units = find_units(model, x)
    assert units.names == ("0.sk.0", "0.sk.2")
    (odd,) = units.rejected
    assert odd.name == "0.sk.1"
    assert odd.why.endswith("not understood, because of IndexError: something odd")


def test_what_was_found_is_remembered(monkeypatch):
    model, probes = _network(), []

    def counted(*given):
        probes.append(given)
        return probe(*given)

    monkeypatch.setattr(finding, "probe", counted)
    images = torch.rand(2, 3, 8, 8)
    units = find_units(model, images)
    for _ in range(2):
        skviz.sweep(model, images, device="cpu", progress=False)
    assert units_of(model) is units
    assert len(probes) == 1
    assert len(find_units(model, images, include="0.sk.0")) == 1  # which is not what is remembered
    assert units_of(model) is units


def test_a_bar_says_how_far_it_is_if_it_takes_long(monkeypatch, capsys):
    find_units(_network(), torch.rand(2, 3, 8, 8))
    assert not capsys.readouterr().err
    monkeypatch.setattr(select, "DELAY", 0)
    find_units(_network(), torch.rand(2, 3, 8, 8))
    assert "looking for units" in capsys.readouterr().err


def test_operations_of_other_libraries_are_opaque():
    """Whatever they are called."""
    library = torch.library.Library("zoo", "DEF")
    library.define("avg_pool2d(Tensor x) -> Tensor")
    library.impl("avg_pool2d", lambda x: x.flip(2).sigmoid(), "CompositeExplicitAutograd")

    def forward(m, x):
        f = [m.a(x), torch.ops.zoo.avg_pool2d(x)]
        return mix(f, m.fc(sum(f).mean((2, 3))).view(len(x), 2, C).softmax(1))

    model = Parts({"a": conv(3), "fc": nn.Linear(C, 2 * C)}, forward).eval()
    (unit,) = find_units(model, torch.randn(2, C, 8, 8))
    assert unit.kernels is None
    assert unit.unknown == "of branch 1: zoo::avg_pool2d has no kernel"
    library._destroy()


def test_calls_of_the_same_function_in_parts_are_not_taken_for_the_weights():
    """Modules inside one that makes weights are not followed while it is recorded."""

    class Attention(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            t = x.flatten(2)
            return ((t @ t.transpose(1, 2)).softmax(-1) @ t).view(x.shape)

    def forward(m, x):
        f = m.f(x)
        return mix(f, m.fc(sum(f).mean((2, 3))).view(len(x), 2, C).softmax(1))

    parts = {"f": Modules(conv(3), Attention()), "fc": nn.Linear(C, 2 * C)}
    model, x = Parts(parts, forward).eval(), torch.randn(2, C, 8, 8)
    with torch.no_grad(), record(model, find_units(model, x)) as recording:
        model(x)
        truth = model.fc(sum(model.f(x)).mean((2, 3))).view(2, 2, C).softmax(1)
    assert torch.equal(recording.weights[""], truth)


def test_kinds():
    kinds = {
        "sigmoid gate, a and 1 - a": "gate",
        "sigmoid gate through lerp": "gate",
        "(B, M, H, W) per pixel": "per pixel",
        "one convolution chunked": "split attention",
        "grouped radix split attention": "split attention",
        "modules": "softmax",
        "exp over sum": "softmax",
    }
    for case in [*FORMS, *WRAPPED]:
        if case.name in kinds:
            kind = kinds.pop(case.name)
            (unit,) = find_units(case.model, *case.args)
            assert unit.kind == kind
            assert list(find_units(case.model, *case.args, kind=("state", kind))) == [unit]
            assert not find_units(case.model, *case.args, kind=["state", "mixture"])
    assert not kinds
    with pytest.raises(UnitError, match="no kind of unit is called 'gru'; use softmax"):
        find_units(FORMS[0].model, *FORMS[0].args, kind="gru")


# The gates inside branches pool the whole map: faintly, these see everything.
BRANCHES = [case for case in FORMS if case.name in every_branch and case.name != "gated branches"]


def reaching(features: nn.Module, x: torch.Tensor) -> list[int | tuple[int, ...]]:
    """For each branch, the extent of what changes its centre, (h, w) if they differ."""

    def centres(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            maps = features(x.clone())
        return torch.stack([m[:, :, m.shape[2] // 2, m.shape[3] // 2] for m in maps])

    before, changed = centres(x), []
    for axis in (2, 3):
        for place in range(x.shape[axis]):
            other = x.clone()
            other.select(axis, place).mul_(-2)
            changed.append((centres(other) - before).abs().amax((1, 2)) > 1e-9)  # (branch,)
    rows, columns = torch.stack(changed, 1).unflatten(1, (2, -1)).unbind(1)
    sides = [tuple(int(end[-1] - end[0]) + 1 for end in (r.nonzero(), c.nonzero()))
             for r, c in zip(rows, columns, strict=True)]  # fmt: skip
    return [height if height == width else (height, width) for height, width in sides]


@case([case for case in BRANCHES if case.kernels is not None])
def test_kernels_are_as_far_as_changes_reach(case: Case):
    torch.manual_seed(0)
    features = copy.deepcopy(case.model.sk.features).double()
    assert tuple(reaching(features, torch.randn(4, C, 22, 22).double())) == case.kernels


def test_unknown_kernels_say_why():
    found = {
        case.name: find_units(case.model, *case.args) for case in FORMS if case.kernels is None
    }
    for name, why in {
        "enlarged": "of branch 1: upsample_nearest2d has no kernel",
        "turned": "of branch 1: its places are rearranged",
        "external list of features": "the branches have no tensor in common",
    }.items():
        assert f"kernels unknown, because {why}" in str(found[name])
        assert why in found[name]._repr_html_()


def test_kernels_that_are_not_square():
    case = next(case for case in FORMS if case.name == "strips")
    units = find_units(case.model, *case.args)
    assert "1×7, 7×1" in str(units)
    assert [units[0].branch_name(branch) for branch in (0, 1)] == ["1×7", "7×1"]
    assert units[0].branch_index(kernel=(7, 1)) == 1
    with pytest.raises(UnitError, match="not 7"):
        units[0].branch_index(kernel=7)


def test_no_number_stands_for_a_kernel_that_is_not_one():
    """Neither in a sweep's coordinate nor as the largest or smallest kernel."""
    found = {case.name: find_units(case.model, *case.args)[0] for case in BRANCHES}
    assert found["modules"].sizes == (3, 5)
    assert (found["three branches"].smallest, found["three branches"].largest) == (0, 2)
    for name in ("strips", "a strip and a square", "enlarged"):
        assert all(math.isnan(size) for size in found[name].sizes)
        assert found[name].largest is None
    assert found["same kernels"].sizes == (3, 3)
    assert found["same kernels"].smallest is None


def test_a_head_that_does_not_respond_is_not_degenerate():
    """Its ReLU is dead in the probe; with other images it selects."""

    def forward(m, x):
        f = m.f(x)
        z = F.relu(m.fc(sum(f).mean((2, 3))) - 100 + 100 * x.amax((1, 2, 3))[:, None])
        return mix(f, z.view(len(x), 2, C).softmax(1))

    torch.manual_seed(0)
    model = Parts({"f": Modules(conv(3), conv(5)), "fc": nn.Linear(C, 2 * C)}, forward).eval()
    (unit,) = find_units(model, torch.zeros(3, C, 8, 8) - torch.arange(1.0, 4)[:, None, None, None])
    assert not unit.degenerate
    assert "did not respond" in unit.notes[0]
    with torch.no_grad(), record(model, [unit]) as recording:
        model(torch.rand(3, C, 8, 8) + 1)
    assert (recording.weights[""] - 0.5).abs().max() > 0.01


def test_heads_that_compute_the_same_are_one_shared_head():
    def forward(m, x):
        f = m.f(x)
        u = sum(f).mean((2, 3))
        return mix(f, torch.stack([m.fc(u), m.fc(u)], 1).softmax(1))

    model = Parts({"f": Modules(conv(3), conv(5)), "fc": nn.Linear(C, C)}, forward).eval()
    (unit,) = find_units(model, torch.randn(3, C, 8, 8))
    assert unit.degenerate
    assert "shared by all branches" in unit.notes[0]


@case([*negatives(), *not_asked_for(), *(case for case in OTHERS if not case.units)])
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
