"""What `find_units` does not see, as docs/discovery.md says: who sees it, mends that page."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from zoo.models import C, Modules, conv
from zoo.negatives import Parts
from zoo.positives import mix

from skviz.capture import find_units


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


@pytest.mark.parametrize(
    "forward",
    [_two_heads, _two_quotients, _doubled, _by_tanh, _looked_up, _through_numpy, _excited],
)
def test_not_seen(forward):
    torch.manual_seed(0)
    parts = {"f": Modules(conv(3), conv(5)), "fc": nn.Linear(C, 2 * C)}
    parts |= {name: nn.Linear(C, C) for name in ("one", "two")}
    model = Parts(parts, lambda m, x: forward(m, m.f(x))).eval()
    units = find_units(model, torch.randn(3, C, 8, 8))
    assert list(units) == []
    assert units.rejected == ()


def test_a_straight_through_estimator_is_seen():
    parts = {"f": Modules(conv(3), conv(5)), "fc": nn.Linear(C, 2 * C)}

    def forward(m, x):
        f = m.f(x)
        return mix(f, F.gumbel_softmax(_logits(m, f), hard=True, dim=1))

    assert len(find_units(Parts(parts, forward).eval(), torch.randn(3, C, 8, 8))) == 1
