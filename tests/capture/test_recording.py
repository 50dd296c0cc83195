import copy
import gc
import shutil
import threading

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from zoo import Case, degenerates, negatives, positives, wrapped
from zoo.models import Body, Modules, Select, conv
from zoo.positives import mix

from skviz.capture import find_units, recording
from skviz.capture.interventions import intervene
from skviz.capture.layout import Layout
from skviz.capture.recording import record
from skviz.errors import RecordingError, UnitError
from skviz.models.nn import SKAttention, SKConv

CASES = [*positives(), *wrapped()]
X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(5))


def unit() -> Select:
    return Select(Modules(conv(3), conv(5)), 2, "channel", lambda f, z: mix(f, z.softmax(1)))


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return Body(nn.Sequential(unit(), unit())).eval()


def first(out):
    return out[0] if isinstance(out, tuple) else out


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_records_the_true_weights_and_changes_nothing(case: Case):
    with torch.no_grad():
        torch.manual_seed(1)
        plain = first(case.model(*case.args, **case.kwargs))
        torch.manual_seed(1)
        with record(case.model) as recording:
            recorded = first(case.model(*case.args, **case.kwargs))
    assert torch.equal(plain, recorded)
    assert len(recording.weights) == case.units * case.calls
    for weights in recording.weights.values():
        assert (weights.float().sum(1) - 1).abs().max() < 0.03
        assert not weights.requires_grad
    if case.true_weights is not None:
        (weights,) = recording.weights.values()
        torch.testing.assert_close(
            weights.double(), case.true_weights(*case.args), rtol=1e-4, atol=1e-6
        )


def test_forward_passes_follow_one_another(model):
    with torch.no_grad(), record(model) as recording:
        model(X)
        model(X.flip(0))
    assert recording.forwards == 2
    weights = recording.weights["sk.0"]
    assert weights.shape == (4, 2, 4)
    torch.testing.assert_close(weights[:2], weights[2:].flip(0))


def test_each_call_of_a_shared_unit():
    case = next(case for case in wrapped() if case.calls == 3)
    with torch.no_grad(), record(case.model) as recording:
        case.model(*case.args)
        case.model(*case.args)
    assert list(recording.weights) == ["sk@0", "sk@1", "sk@2"]
    assert recording.weights["sk@0"].shape == (6, 2, 4)
    assert not torch.equal(recording.weights["sk@0"], recording.weights["sk@1"])


def test_reduce(model):
    units = find_units(model, X)
    with torch.no_grad():
        with record(model, units) as full:
            model(X)
        with record(model, units, reduce="channel_mean") as mean:
            model(X)
        with record(model, units, reduce=lambda w: w.amax(2)) as most:
            model(X)
    torch.testing.assert_close(mean.weights["sk.0"], full.weights["sk.0"].mean(2))
    torch.testing.assert_close(most.weights["sk.1"], full.weights["sk.1"].amax(2))
    with pytest.raises(RecordingError, match="channel_mean"):
        record(model, reduce="max")


def test_choice_of_units(model):
    units = find_units(model, X)
    for chosen in (["sk.1"], units[1:], [units["sk.1"]]):
        with torch.no_grad(), record(model, chosen) as recording:
            model(X)
        assert list(recording.weights) == ["sk.1"]
    with pytest.raises(UnitError, match=r"no unit is called 'nope'"), record(model, ["nope"]):
        model(X)


def test_grad_keeps_the_graph(model):
    x = X.clone().requires_grad_()
    with record(model, grad=True) as recording:
        model(x)
    (grad,) = torch.autograd.grad(recording.weights["sk.1"][:, 0].sum(), x)
    step = 1e-3 * torch.randn_like(x)
    with torch.no_grad(), record(model.double()) as moved:
        for sign in (1, -1):
            model((x + sign * step).double())
    up, down = moved.weights["sk.1"].chunk(2)
    expected = (up[:, 0].sum() - down[:, 0].sum()) / 2
    torch.testing.assert_close((grad * step).sum().double(), expected, rtol=2e-3, atol=1e-7)


def test_grad_inside_torchscript():
    case = next(case for case in wrapped() if case.name == "TorchScript, scripted")
    x = case.args[0].clone().requires_grad_()
    with record(case.model, grad=True) as recording:
        case.model(x)
    (weights,) = recording.weights.values()
    (grad,) = torch.autograd.grad(weights[:, 0].sum(), x)
    assert grad.abs().sum() > 0


def _trace_of(model: nn.Module):
    return (
        [m.training for m in model.modules()],
        [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()],
        [set(vars(m)) for m in model.modules()],
        torch.get_rng_state().tolist(),
        torch.overrides._get_current_function_mode_stack(),
    )


@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_no_trace_whatever_is_raised(model, problem):
    class Bomb(nn.Module):
        def forward(self, _x):
            raise problem

    units = find_units(model, X)
    bomb = model.sk[1].head
    calls = []
    mine = model.sk[0].register_forward_hook(lambda *_: calls.append(1))
    before = _trace_of(model)
    for chosen in (None, units):
        with pytest.raises(problem), record(model, chosen), record(model, chosen):
            model(X)
            model.sk[1].head = Bomb()
            model(X)
        model.sk[1].head = bomb
        assert _trace_of(model) == before
    calls.clear()
    model(X)
    assert calls == [1]
    mine.remove()


def test_nested_and_out_of_order(model):
    units = find_units(model, X)
    with torch.no_grad():
        one, two = record(model, units[:1]), record(model, units)
        one.__enter__()
        two.__enter__()
        model(X)
        one.__exit__(None, None, None)
        model(X)
        two.__exit__(None, None, None)
    assert (one.forwards, two.forwards) == (1, 2)
    torch.testing.assert_close(one.weights["sk.0"], two.weights["sk.0"][:2])
    assert torch.overrides._get_current_function_mode_stack() == []


def test_inner_discovery_is_not_recorded_outside(model):
    units = find_units(model, X)
    with torch.no_grad(), record(model, units) as outer, record(model):
        model(X)
    assert outer.forwards == 1
    assert outer.weights["sk.0"].shape[0] == 2


def test_threads_see_their_own(model):
    shapes, problems = {}, []

    def work(images: int) -> None:
        try:
            with torch.no_grad(), record(model) as recording:
                for _ in range(5):
                    model(torch.randn(images, 3, 8, 8))
            shapes[images] = recording.weights["sk.1"].shape[0]
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert shapes == {n: 5 * n for n in (1, 2, 3, 4)}
    assert all(not m._forward_pre_hooks for m in model.modules())


def test_checkpoint_is_recorded_once():
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.sk = unit()

        def forward(self, x):
            return checkpoint(self.sk, x, use_reentrant=False)

    model, x = Checkpointed(), torch.randn(2, 4, 8, 8)
    with record(model) as recording:
        model(x).sum().backward()
    assert recording.weights["sk"].shape[0] == 2


def test_training_goes_on_as_without(model):
    def gradients(context):
        torch.manual_seed(0)
        model.train()
        model.zero_grad()
        state = {k: v.clone() for k, v in model.state_dict().items()}
        with context:
            model(X).square().sum().backward()
        after = {k: v.clone() for k, v in model.state_dict().items()}
        model.load_state_dict(state)
        return [p.grad for p in model.parameters()], after

    plain, state = gradients(torch.enable_grad())
    watched, watched_state = gradients(record(model))
    assert all(map(torch.equal, plain, watched))
    assert all(torch.equal(state[k], watched_state[k]) for k in state)


def test_a_copy_made_inside_is_another_model(model):
    with torch.no_grad(), record(model) as alone:
        model(X)
    with torch.no_grad(), record(model) as recording:
        other = copy.deepcopy(model)
        other(X + 1)
        model(X)
        assert torch.equal(other(X), copy.deepcopy(other)(X))
    other(X)
    assert recording.forwards == 1
    for name, weights in alone.weights.items():
        assert torch.equal(recording.weights[name], weights)


@pytest.mark.skipif(not shutil.which("c++"), reason="it is compiled to C++")
def test_the_compiler_that_is_used_by_default():
    torch.manual_seed(0)
    model = Body(unit()).eval()
    compiled = torch.compile(model)
    with torch.no_grad():
        before = compiled(X)  # by the compiled code
        with record(model) as expected:
            model(X)
        with record(compiled) as recording:
            inside = compiled(X)
        after = compiled(X)
    assert torch.equal(recording.weights["_orig_mod.sk"], expected.weights["sk"])
    torch.testing.assert_close(inside, before)
    assert torch.equal(after, before)


def test_one_unit_called_seven_times():
    class Seven(nn.Module):
        def __init__(self):
            super().__init__()
            self.sk = unit()

        def forward(self, x):
            for _ in range(7):
                x = self.sk(x)
            return x

    torch.manual_seed(0)
    model, x = Seven().eval(), torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        with record(model) as recording:
            model(x)
        assert list(recording.weights) == [f"sk@{call}" for call in range(7)]
        for weights in recording.weights.values():
            torch.testing.assert_close(weights, model.sk.logits(model.sk.features(x)).softmax(1))
            x = model.sk(x)


def test_compiled_models(model):
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        compiled(X)
        for called in (model, compiled):
            with record(called) as recording:
                compiled(X)
            assert len(recording.weights) == 2
        with record(model) as plain:
            model(X)
    assert torch.equal(plain.weights["sk.0"], recording.weights["_orig_mod.sk.0"])


def test_empty_recordings_are_errors(model):
    with pytest.raises(RecordingError, match="nothing was recorded"), record(model):
        pass
    with (
        pytest.raises(RecordingError, match="nothing was recorded"),
        record(model, find_units(model, X)),
    ):
        Body(unit())(X)
    with pytest.raises(UnitError, match="no Selective-Kernel unit"), record(nn.Linear(3, 3)) as r:
        r.model(torch.randn(3, 3))


def test_a_part_of_the_model(model):
    units = find_units(model, X)
    with torch.no_grad():
        with record(model, units[:1]) as recording:
            model.sk[0](torch.randn(2, 4, 8, 8))
        assert recording.weights["sk.0"].shape == (2, 2, 4)
        with pytest.raises(RecordingError, match=r"'sk\.1' ran 0 times"), record(model, units):
            model.sk[0](torch.randn(2, 4, 8, 8))


def test_changed_control_flow_is_an_error(model):
    units = find_units(model, X)
    skipped = model.sk[1].forward
    with pytest.raises(RecordingError, match=r"'sk\.1' ran 0 times.*another path"):
        with record(model, units):
            model.sk[1].forward = lambda x: x
            model(X)
    model.sk[1].forward = skipped


@pytest.mark.parametrize("many", [1, 2**16])
@pytest.mark.parametrize("reduce", [None, "channel_mean"])
def test_weights_that_are_none_are_an_error(model, reduce, many, monkeypatch):
    """However many sums there are: of many only the least and the most are kept."""
    monkeypatch.setattr(recording, "MANY", many)
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(RecordingError, match=r"'sk\.0' do not sum to one"), torch.no_grad():
            with record(model, reduce=reduce):
                model(X * wrong)


@pytest.mark.parametrize("many", [1, 2**16])
@pytest.mark.parametrize("off", [-0.01, 0.01])
def test_one_sum_that_is_off_is_found_and_its_unit_named(model, many, off, monkeypatch):
    """Of the second unit, in one channel of one image, too small or too large."""
    monkeypatch.setattr(recording, "MANY", many)
    units = find_units(model, X)
    before = Layout.sums

    def sums(self, tensor):
        found = before(self, tensor)
        calls.append(self)
        if len(calls) % 2 == 0:
            found.flatten()[-1] += off
        return found

    calls = []
    monkeypatch.setattr(Layout, "sums", sums)
    with torch.no_grad(), record(model, units[:1], reduce="channel_mean"):
        model(X)
    calls.clear()
    with pytest.raises(RecordingError, match=r"'sk\.1' do not sum to one.*off by 0\.01"):
        with torch.no_grad(), record(model, units, reduce="channel_mean"):
            model(X)


def test_sums_are_as_exact_as_the_weights():
    """In float32 three numbers of float64 that sum to one are off by more than is let pass."""
    torch.manual_seed(0)
    sk = SKAttention(channel=64, kernels=[1, 3, 5], reduction=2).eval().double()
    x = 5 * torch.randn(4, 64, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        with record(sk) as recording:
            sk(x)
        with intervene(sk, recording.weights), record(sk) as again:
            sk(x)
    assert torch.equal(again.weights[""], recording.weights[""])


def test_units_of_another_model(model):
    other = find_units(nn.Sequential(Body(unit())), X)
    with pytest.raises(UnitError, match="found in another model"), record(model, other):
        model(X)


def test_degenerate_units_that_cannot_be_recorded():
    case = next(case for case in degenerates() if case.name == "softmax over the batch")
    units = find_units(case.model, *case.args)
    with pytest.raises(RecordingError, match="runs over the images"), record(case.model, units):
        case.model(*case.args)
    with pytest.raises(UnitError, match="none of the units"), record(case.model):
        case.model(*case.args)
    none = next(negatives())
    with pytest.raises(UnitError, match="no Selective-Kernel unit"), record(none.model):
        none.model(*none.args)


def test_functions_are_watched_only_inside_the_units(model):
    """Elsewhere a forward pass runs as fast as without."""
    modes = {}
    for name in ("stem", "sk.0.head", "head"):
        model.get_submodule(name).register_forward_hook(
            lambda *_, name=name: modes.update(
                {name: len(torch.overrides._get_current_function_mode_stack())}
            )
        )
    units = find_units(model, X)
    with torch.no_grad(), record(model, units):
        model(X)
    assert modes == {"stem": 0, "sk.0.head": 1, "head": 0}


def test_a_module_whose_output_the_weights_are_needs_no_watching_of_functions():
    unit = SKAttention(channel=8, kernels=[3, 5], reduction=2).eval()
    modes = []
    unit.softmax.register_forward_hook(
        lambda *_: modes.append(torch.overrides._get_current_function_mode_stack())
    )
    x = torch.randn(2, 8, 6, 6)
    units = find_units(unit, x)
    modes.clear()
    with torch.no_grad(), record(unit, units) as recording:
        unit(x)
    assert modes == [[]]
    assert recording.weights[""].shape == (2, 2, 8)


def test_what_a_users_hook_puts_in_the_place_of_the_weights_is_recorded():
    unit = SKAttention(channel=8, kernels=[3, 5], reduction=2).eval()
    x = torch.randn(2, 8, 6, 6)
    units = find_units(unit, x)
    unit.softmax.register_forward_hook(lambda _m, _x, weights: torch.full_like(weights, 0.5))
    with torch.no_grad(), record(unit, units) as recording:
        unit(x)
    assert (recording.weights[""] == 0.5).all()


def test_memory_is_flat(model):
    units = find_units(model, X)

    def once():
        with torch.no_grad(), record(model, units, reduce="channel_mean") as recording:
            model(X)
        return recording.weights

    def alive():
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    for _ in range(5):
        once()
    before = alive()
    for _ in range(1000):
        once()
    assert alive() <= before


def test_a_recording_context_is_used_once(model):
    recording = record(model)
    with torch.no_grad(), recording:
        model(X)
        with pytest.raises(RecordingError, match="already entered"):
            recording.__enter__()


def weights_by_hand(unit: SKConv, x: torch.Tensor) -> torch.Tensor:
    """The paper's equations 1 to 5, from the unit's parameters alone: (image, branch, channel)."""
    branches = torch.stack([conv(x) for conv in unit.convs], 1)  # (B, M, C, H, W)
    pooled = branches.sum(1).mean((2, 3))
    z = unit.fuse(pooled)
    rows = unit.select.weight.unflatten(0, (len(unit.kernels), -1))  # (M, C, d)
    logits = torch.einsum("mcd,bd->bmc", rows, z)
    return logits.exp() / logits.exp().sum(1, keepdim=True)


def test_records_what_the_equations_give(small_net):
    images = torch.rand(4, 3, 32, 32)
    seen = {}
    unit = small_net.stage2[0].sk
    handle = unit.register_forward_pre_hook(lambda _, inputs: seen.update(x=inputs[0]))
    with torch.no_grad(), record(small_net) as recording:
        small_net(images)
    handle.remove()
    weights = recording.weights["stage2.0.sk"]
    assert weights.shape == (4, 3, 16)
    torch.testing.assert_close(weights, weights_by_hand(unit, seen["x"]).detach())
    assert weights.sum(1).sub(1).abs().max() < 1e-6


def test_layout_of_the_articles_module():
    unit = SKAttention(channel=8, kernels=[1, 3, 5], reduction=2).eval()
    x = torch.randn(2, 8, 6, 6)
    model = nn.Sequential(unit)
    with torch.no_grad(), record(model) as recording:
        model(x)
        z = unit.fc(sum(conv(x) for conv in unit.convs).mean((2, 3)))
        expected = torch.stack([fc(z) for fc in unit.fcs], 1).softmax(1)  # (B, M, C)
    torch.testing.assert_close(recording.weights["0"], expected)
