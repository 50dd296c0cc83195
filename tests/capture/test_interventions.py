import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from zoo import Case, positives, wrapped
from zoo.models import Body, Modules, Select, conv
from zoo.positives import mix

from skviz.capture import find_units
from skviz.capture.interventions import ablate, force, intervene
from skviz.capture.recording import record
from skviz.errors import InterventionError, UnitError
from skviz.models.nn import SKConv

CASES = list(positives())
REFUSED = (InterventionError, UnitError)
X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(5))


def unit(*kernels: int) -> Select:
    branches = Modules(*map(conv, kernels or (3, 5)))
    return Select(branches, len(branches.branches), "channel", lambda f, z: mix(f, z.softmax(1)))


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return Body(nn.Sequential(unit(3, 5), unit(1, 3, 5))).eval()


def run(case: Case) -> torch.Tensor:
    out = case.model(*case.args, **case.kwargs)
    return (out[0] if isinstance(out, tuple) else out).double()


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_the_forward_pass_uses_the_new_weights(case: Case):
    with torch.no_grad():
        true = case.true_weights(*case.args).float()
        name, m = case.unit_name, case.branches
        torch.testing.assert_close(
            run(case), case.reference(*case.args, true), rtol=1e-3, atol=1e-4
        )
        drawn = torch.rand(true.shape).softmax(1)
        one_hot = torch.zeros_like(true)
        one_hot[:, m - 1] = 1
        left = true.clone()
        left[:, 0] = 0
        for what, weights in {
            "uniform": torch.full_like(true, 1 / m),
            force(branch=m - 1): one_hot,
            ablate(branch=0): left / left.sum(1, keepdim=True),
            drawn: drawn,
            (lambda w: w.flip(1)): true.flip(1),
        }.items():
            with intervene(case.model, {name: what}), record(case.model) as recording:
                changed = run(case)
            expected = case.reference(*case.args, weights)
            torch.testing.assert_close(changed, expected, rtol=1e-3, atol=1e-4)
            recorded = recording.weights[name].to(weights)
            torch.testing.assert_close(recorded, weights, rtol=1e-4, atol=1e-5)
        assert torch.equal(run(case), run(case))


@pytest.mark.parametrize("case", list(wrapped()), ids=repr)
def test_every_wrapping(case: Case):
    units = find_units(case.model, *case.args, **case.kwargs)
    with torch.no_grad():
        before = run(case)
        with (
            intervene(case.model, {unit.name: "uniform" for unit in units}),
            record(case.model) as recording,
        ):
            changed = run(case)
        for weights in recording.weights.values():
            torch.testing.assert_close(weights, torch.full_like(weights, 1 / weights.shape[1]))
        assert not torch.equal(before, changed)
        if not case.model.training:
            assert torch.equal(before, run(case))


def test_by_kernel_and_by_branch(model):
    with torch.no_grad():
        outs = []
        for what in (5, force(kernel=5), force(branch=1)):
            with intervene(model, {"sk.0": what}):
                outs.append(model(X))
    assert torch.equal(outs[0], outs[1])
    assert torch.equal(outs[0], outs[2])


def test_the_units_that_may_be_named_are_names_or_units_or_one_of_them(model):
    with torch.no_grad(), intervene(model, {"sk.0": 5}):
        expected = model(X)
    found = find_units(model, X)["sk.0"]
    for units in ("sk.0", found, ["sk.0"], [found]):
        with torch.no_grad(), intervene(model, {"sk.0": 5}, units=units):
            assert torch.equal(model(X), expected)


def test_the_order_of_nesting_does_not_matter(model):
    with torch.no_grad():
        with record(model) as outside, intervene(model, {"sk.0": 3}):
            model(X)
        with intervene(model, {"sk.0": 3}), record(model) as inside:
            model(X)
    assert torch.equal(outside.weights["sk.0"], inside.weights["sk.0"])
    assert (outside.weights["sk.0"][:, 0] == 1).all()


def test_swap(model):
    small, large = X[:1], X[1:]
    with torch.no_grad():
        with record(model) as recording:
            model(large)
        with intervene(model, recording.weights), record(model) as swapped:
            model(small)
    for name, weights in recording.weights.items():
        torch.testing.assert_close(swapped.weights[name], weights)


def test_gradients_flow_through_what_depends_on_the_weights(model):
    """Against finite differences of the intervened model, with weights that depend and not."""
    model = model.double()
    x = X.double().requires_grad_()
    direction = torch.randn_like(x)
    for what in ("uniform", force(branch=0), ablate(branch=2), lambda w: (2 * w).softmax(1)):
        with intervene(model, {"sk.1": what}):
            (grad,) = torch.autograd.grad(model(x).square().sum(), x)
            with torch.no_grad():
                up, down = (model(x + s * 1e-5 * direction).square().sum() for s in (1, -1))
        torch.testing.assert_close(
            (grad * direction).sum(), (up - down) / 2e-5, rtol=1e-4, atol=1e-6
        )


def test_gradients_with_checkpoint():
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.sk = unit()

        def forward(self, x):
            return checkpoint(self.sk, x, use_reentrant=False)

    torch.manual_seed(0)
    model, x = Checkpointed().eval(), torch.randn(2, 4, 8, 8, requires_grad=True)
    grads = []
    for called in (model, nn.Sequential(model.sk)):
        name = "sk" if called is model else "0"
        with intervene(called, {name: "uniform"}):
            grads.append(torch.autograd.grad(called(x).square().sum(), x)[0])
    torch.testing.assert_close(*grads)


def test_no_wrong_gradient_inside_torchscript():
    case = next(case for case in wrapped() if case.name == "TorchScript, scripted")
    with (
        pytest.raises(InterventionError, match="no gradient"),
        intervene(case.model, {find_units(case.model, *case.args)[0].name: "uniform"}),
    ):
        case.model(case.args[0].clone().requires_grad_())


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (7, r"kernels \(1, 3, 5\), not 7.*branch=0"),
        (force(kernel=9), "not 9"),
        (force(branch=3), "branches 0 to 2, got 3"),
        (force(), "either kernel=… or branch=…"),
        ("abalte", "got 'abalte'"),
        (None, "got None"),
        (3.5, r"got 3\.5"),
        (torch.ones(3), "do not sum to one"),
        (torch.ones(2, 2, 4) / 2, r"shape \(2, 3, 4\), but was given \(2, 2, 4\)"),
        (torch.ones(5, 3, 4) / 3, r"was given \(5, 3, 4\)"),
        (lambda w: 2 * w, r"off by 1"),
        (lambda w: w[:, :1], r"it returned \(2, 1, 4\)"),
        (lambda _: None, "it returned NoneType"),
    ],
)
def test_errors_say_what_is_wrong(model, what, message):
    with pytest.raises(REFUSED, match=message), intervene(model, {"sk.1": what}):
        model(X)
    if not callable(what) and not isinstance(what, torch.Tensor):  # known before the forward pass
        with pytest.raises(REFUSED, match=message):
            intervene(model, {"sk.1": what}, units=find_units(model, X)).__enter__()
    assert all(not m._forward_pre_hooks for m in model.modules())
    assert torch.overrides._get_current_function_mode_stack() == []


def test_other_errors(model):
    with pytest.raises(UnitError, match=r"no unit is called 'sk\.7'; there are sk\.0, sk\.1"):
        with intervene(model, {"sk.7": 3}):
            model(X)
    with pytest.raises(InterventionError, match="no unit was named"):
        intervene(model, {})
    same = Body(unit(3, 3)).eval()
    with pytest.raises(UnitError, match="several branches of kernel 3"):
        with intervene(same, {"sk": 3}):
            same(X)


def test_weights_that_do_not_sum_to_one_if_meant(model):
    with torch.no_grad(), intervene(model, {"sk.0": lambda w: 2 * w}, normalise=False):
        with record(model) as recording:
            model(X)
    torch.testing.assert_close(recording.weights["sk.0"].sum(1), torch.full((2, 4), 2.0))
    gate = next(case for case in CASES if case.name == "sigmoid gate, a and 1 - a")
    with pytest.raises(InterventionError, match="takes the other"):
        with intervene(gate.model, {"sk": "uniform"}, normalise=False):
            gate.model(*gate.args)


def test_unknown_kernels_take_a_branch():
    case = next(case for case in CASES if case.name == "external list of features")
    with torch.no_grad(), intervene(case.model, {"": 2}):
        torch.testing.assert_close(case.model(*case.args), case.args[0][2])


def test_a_unit_that_interpolates_cannot_be_given_other_sums():
    """`lerp` takes one weight of two: the other one would be ignored."""
    unit = SKConv(8, groups=2).eval()
    x = torch.randn(3, 8, 6, 6)
    with torch.no_grad(), intervene(unit, {"": force(kernel=5)}):
        torch.testing.assert_close(unit(x), unit.convs[1](x))
    with pytest.raises(InterventionError, match="takes the other"):
        with torch.no_grad(), intervene(unit, {"": lambda weights: weights / 2}, normalise=False):
            unit(x)
