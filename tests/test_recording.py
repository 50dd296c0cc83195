import pytest
import torch
from torch import nn

import skviz
from skviz.errors import RecordingError
from skviz.nn import SKAttention, SKConv


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
    with torch.no_grad(), skviz.record(small_net) as recording:
        small_net(images)
    handle.remove()
    weights = recording.weights["stage2.0.sk"]
    assert weights.shape == (4, 3, 16)
    torch.testing.assert_close(weights, weights_by_hand(unit, seen["x"]).detach())
    assert weights.sum(1).sub(1).abs().max() < 1e-6


def test_layout_of_the_articles_module():
    unit = SKAttention(channel=8, kernels=[1, 3, 5], reduction=2).eval()
    x = torch.randn(2, 8, 6, 6)
    with torch.no_grad(), skviz.record(nn.Sequential(unit)) as recording:
        unit(x)
        z = unit.fc(sum(conv(x) for conv in unit.convs).mean((2, 3)))
        expected = torch.stack([fc(z) for fc in unit.fcs], 1).softmax(1)  # (B, M, C)
    torch.testing.assert_close(recording.weights["0"], expected)


def test_every_call_is_kept(small_net):
    with torch.no_grad(), skviz.record(small_net, ["stage1.0.sk"]) as recording:
        small_net(torch.rand(2, 3, 32, 32))
        small_net(torch.rand(3, 3, 40, 24))
    assert [len(call) for call in recording.calls["stage1.0.sk"]] == [2, 3]
    assert list(recording.weights) == ["stage1.0.sk"]


def test_leaves_no_hook_of_its_own_and_all_of_others(small_net):
    calls = []
    softmax = small_net.stage1[0].sk.softmax
    handle = softmax.register_forward_hook(lambda *_: calls.append(1))
    with pytest.raises(KeyboardInterrupt), skviz.record(small_net):
        raise KeyboardInterrupt
    assert len(softmax._forward_hooks) == 1
    assert not small_net.stage2[0].sk.softmax._forward_hooks
    small_net(torch.rand(1, 3, 32, 32))
    handle.remove()
    assert calls == [1]


def test_outputs_are_bit_identical(small_net):
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        plain = small_net(images)
        with skviz.record(small_net):
            recorded = small_net(images)
    assert torch.equal(plain, recorded)


def test_recorded_weights_do_not_change_later(small_net):
    with torch.no_grad(), skviz.record(small_net) as recording:
        small_net(torch.rand(2, 3, 32, 32))
        first = recording.weights["stage1.0.sk"].clone()
        small_net(torch.rand(2, 3, 32, 32))
    assert torch.equal(recording.calls["stage1.0.sk"][0], first)
    assert not recording.weights["stage1.0.sk"].requires_grad


def test_a_unit_that_never_ran_is_an_error(small_net):
    with skviz.record(small_net) as recording:
        pass
    with pytest.raises(RecordingError, match=r"stage1\.0\.sk.*never|did not call"):
        _ = recording.weights


def test_unknown_units_and_models_without_units(small_net):
    with (
        pytest.raises(RecordingError, match=r"'stage9'.*stage1\.0\.sk"),
        skviz.record(small_net, ["stage9"]),
    ):
        pass
    with pytest.raises(RecordingError, match="Linear holds no"), skviz.record(nn.Linear(2, 2)):
        pass


def test_weights_that_do_not_sum_to_one_are_refused(small_net):
    softmax = small_net.stage1[0].sk.softmax
    handle = softmax.register_forward_hook(lambda _m, _i, output: output * 1.5)
    try:
        with pytest.raises(RecordingError, match="do not sum to 1"), skviz.record(small_net):
            small_net(torch.rand(2, 3, 32, 32))
    finally:
        handle.remove()
