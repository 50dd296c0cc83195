"""What `find_units` does not see, as docs/discovery.md says: who sees it, mends that page."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from zoo.models import C, Modules, conv
from zoo.negatives import Parts
from zoo.positives import mix

from skviz.capture import find_units
from skviz.capture.recording import record
from skviz.capture.select import INDEPENDENT
from skviz.errors import UnitError
from skviz.studies.setting import at_rest


def _logits(m, f):
    return m.fc(sum(f).mean((2, 3))).view(-1, 2, C)


def _mixed(f, a, b):
    return f[0] * a[..., None, None] + f[1] * b[..., None, None]


def _two_heads(m, f):
    u = sum(f).mean((2, 3))
    return _mixed(f, m.one(u).sigmoid(), m.two(u).sigmoid())


def _two_quotients(m, f):
    a, b = _logits(m, f).exp().unbind(1)
    return _mixed(f, a / (a + b), b / (a + b))


def _doubled(m, f):
    a = 2 * m.one(sum(f).mean((2, 3))).sigmoid()
    return _mixed(f, a, 2 - a)


def _by_tanh(m, f):
    t = m.one(sum(f).mean((2, 3))).tanh()
    return _mixed(f, (1 + t) / 2, (1 - t) / 2)


def _looked_up(m, f):
    return mix(f, F.one_hot(_logits(m, f).argmax(1), 2).movedim(-1, 1).float())


def _through_numpy(m, f):
    return mix(f, torch.from_numpy(_logits(m, f).softmax(1).numpy()))


def _excited(m, f):
    return torch.cat(f, 1) * m.fc(sum(f).mean((2, 3))).sigmoid()[..., None, None]


def _excited_apart(m, f):
    weights = (
        head(map_.mean((2, 3))).sigmoid() for head, map_ in zip((m.one, m.two), f, strict=True)
    )
    return _mixed(f, *weights)


def _excited_twice(m, f):
    first = (f[0] + f[1]) * m.one(sum(f).mean((2, 3))).sigmoid()[..., None, None]
    return first * m.two(first.mean((2, 3))).sigmoid()[..., None, None]


def _crosswise(m, f):
    return _mixed(f, m.one(f[1].mean((2, 3))).sigmoid(), m.two(f[0].mean((2, 3))).sigmoid())


def _found(forward):
    torch.manual_seed(0)
    parts = {"f": Modules(conv(3), conv(5)), "fc": nn.Linear(C, 2 * C)}
    parts |= {name: nn.Linear(C, C) for name in ("one", "two")}
    model = Parts(parts, lambda m, x: forward(m, m.f(x))).eval()
    return find_units(model, torch.randn(3, C, 8, 8))


@pytest.mark.parametrize(
    "forward",
    [
        *(_two_quotients, _doubled, _by_tanh, _looked_up, _through_numpy),
        *(_excited_apart, _excited_twice, _crosswise),
    ],
)
def test_not_seen(forward):
    units = _found(forward)
    assert list(units) == []
    assert units.rejected == ()


@pytest.mark.parametrize("forward", [_two_heads, _excited])
def test_told_as_no_selection(forward):
    units = _found(forward)
    assert list(units) == []
    assert [one.why for one in units.rejected] == [INDEPENDENT]


def test_a_straight_through_estimator_is_seen():
    parts = {"f": Modules(conv(3), conv(5)), "fc": nn.Linear(C, 2 * C)}

    def forward(m, x):
        f = m.f(x)
        return mix(f, F.gumbel_softmax(_logits(m, f), hard=True, dim=1))

    assert len(find_units(Parts(parts, forward).eval(), torch.randn(3, C, 8, 8))) == 1


def _fused(m, x):
    """Each place attends to its branches, in one kernel."""
    f = torch.stack(m.f(x), 1).permute(0, 3, 4, 1, 2).reshape(-1, 1, 2, C)  # (B·H·W, 1, M, C)
    query = m.one(f.sum(2, keepdim=True))
    mixed = F.scaled_dot_product_attention(query, m.two(f), f)
    return mixed.view(len(x), *x.shape[2:], C).permute(0, 3, 1, 2)


def test_a_softmax_inside_a_fused_kernel_is_not_seen():
    parts = {"f": Modules(conv(3), conv(5)), "one": nn.Linear(C, C), "two": nn.Linear(C, C)}
    model, x = Parts(parts, _fused).eval(), torch.randn(3, C, 8, 8)
    units = find_units(model, x)
    assert list(units) == []
    assert units.rejected == ()
    with sdpa_kernel(SDPBackend.MATH):
        (unit,) = find_units(model, x)
    assert (unit.kernels, unit.recordable) == ((3, 5), False)


class Sometimes(nn.Module):
    """Selects between its branches for bright images only."""

    def __init__(self) -> None:
        super().__init__()
        self.f, self.fc = Modules(conv(3), conv(5)), nn.Linear(C, 2 * C)

    def forward(self, x):
        f = self.f(x)
        return mix(f, _logits(self, f).softmax(1)) if x.mean() > 0 else f[0]


def test_branches_that_the_example_does_not_reach_are_not_seen():
    model, x = Sometimes().eval(), torch.rand(3, C, 8, 8)
    units = find_units(model, -x)
    assert list(units) == []
    assert units.rejected == ()
    assert len(find_units(model, x)) == 1


class Always(Sometimes):
    """Does so for all."""

    def forward(self, x):
        f = self.f(x)
        return mix(f, _logits(self, f).softmax(1))


def test_an_exported_program_is_given_as_a_module_and_knows_no_places():
    model, x = nn.Sequential(Always()).eval(), torch.rand(3, C, 8, 8)
    program = torch.export.export(model, (x,))
    with pytest.raises(UnitError, match="must be Module; got"):
        find_units(program, x)
    exported = program.module()
    assert find_units(exported, x).names == ("",)
    assert find_units(torch.export.unflatten(program), x).names == ("0",)
    with torch.no_grad(), record(exported) as ours, record(model) as theirs:
        exported(x)
        model(x)
    assert torch.equal(ours.weights[""], theirs.weights["0"])
    exported.training = True
    with at_rest(exported, x.device):  # as every study does
        assert not exported.training
    assert exported.training
