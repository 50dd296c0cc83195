"""skviz.nn against formulas written out here, the paper's numbers and another library."""

import math
from collections import Counter, OrderedDict

import pytest
import torch
import torch.nn.functional as F
from pytorchcv.models import sknet as pytorchcv_sknet
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.feature_extraction import create_feature_extractor

import skviz
import skviz.models.nn
from skviz.errors import ModelError
from skviz.models.nn import SKAttention, SKConv, SKNet, SKUnit, sknet26, sknet50, sknet101


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Tensors this small lose time to a second thread, much of it on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def randomised(module: nn.Module) -> nn.Module:
    """Give every parameter and running statistic a value that matters."""
    for name, tensor in module.state_dict().items():
        if "running_var" in name:
            tensor.uniform_(0.5, 2)
        elif "running_mean" in name or ".bn." in name:
            tensor.copy_(torch.randn(tensor.shape))
    return module


# --- SKAttention: the article's formula ---------------------------------------------------------


class ArticleSKAttention(nn.Module):
    """The article's module, term by term."""

    def __init__(self, channel, kernels, reduction, group, L):  # noqa: N803
        super().__init__()
        d = max(L, channel // reduction)
        self.convs = nn.ModuleList()
        for k in kernels:
            conv = nn.Conv2d(channel, channel, kernel_size=k, padding=k // 2, groups=group)
            self.convs.append(
                nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(channel), relu=nn.ReLU()))
            )
        self.fc = nn.Linear(channel, d)
        self.fcs = nn.ModuleList([nn.Linear(d, channel) for _ in kernels])

    def forward(self, x):
        feats = torch.stack([conv(x) for conv in self.convs])  # (M, B, C, H, W)
        U = feats.sum(0)  # noqa: N806
        S = U.mean(-1).mean(-1)  # noqa: N806
        Z = self.fc(S)  # noqa: N806
        weights = torch.stack([fc(Z)[:, :, None, None] for fc in self.fcs])
        return (torch.softmax(weights, dim=0) * feats).sum(0)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("kernels", "group"), [((1, 3, 5, 7), 1), ((3, 5), 4), ((3, 3, 1), 2)], ids=str
)
def test_skattention_is_the_articles_formula(kernels, group, training):
    options = {"channel": 16, "kernels": kernels, "reduction": 2, "group": group, "L": 4}
    ours, article = SKAttention(**options), randomised(ArticleSKAttention(**options))
    ours.load_state_dict(article.state_dict(), strict=True)
    article.load_state_dict(ours.state_dict(), strict=True)
    ours.train(training)
    article.train(training)
    x = torch.randn(3, 16, 7, 6)
    upstream = torch.randn(3, 16, 7, 6) / x.numel() ** 0.5
    results = []
    for module in (ours, article):
        leaf = x.clone().requires_grad_()
        output = module(leaf)
        output.backward(upstream)
        grads = {name: p.grad for name, p in module.named_parameters()}
        results.append(
            {"output": output, "input": leaf.grad, **grads, **dict(module.named_buffers())}
        )
    torch.testing.assert_close(results[0], results[1], rtol=1e-6, atol=1e-6)


def test_skattention_runs_the_articles_example():
    module = SKAttention(channel=512, reduction=8).eval()
    with torch.inference_mode():
        assert module(torch.randn(50, 512, 7, 7)).shape == (50, 512, 7, 7)


# --- SKConv: the paper's equations --------------------------------------------------------------


def spread(weight: Tensor, dilation: int) -> Tensor:
    """Write a dilated kernel out as a true one, with zeros between its taps."""
    out, into, size, _ = weight.shape
    extent = dilation * (size - 1) + 1
    full = weight.new_zeros(out, into, extent, extent)
    full[:, :, ::dilation, ::dilation] = weight
    return full


def normalised(y: Tensor, bn: nn.Module) -> Tensor:
    """Batch normalisation by its definition."""
    over = [axis for axis in range(y.ndim) if axis != 1]
    if bn.training:
        mean, var = y.mean(over), y.var(over, correction=0)
    else:
        mean, var = bn.running_mean, bn.running_var
    mean, var, scale, shift = (
        v.reshape(1, -1, *[1] * (y.ndim - 2)) for v in (mean, var, bn.weight, bn.bias)
    )
    return (y - mean) / (var + bn.eps).sqrt() * scale + shift


def paper_skconv(unit: SKConv, x: Tensor, dilations: list[int], stride: int, groups: int) -> Tensor:
    """Equations 1–6 of the paper for any M, with U and the stack of branches written out."""
    branches = []
    for branch, dilation in zip(unit.convs, dilations, strict=True):
        kernel = spread(branch.conv.weight, dilation)
        padding = kernel.shape[-1] // 2
        y = F.conv2d(x, kernel, stride=stride, padding=padding, groups=groups)
        branches.append(normalised(y, branch.bn).clamp(min=0))
    stack = torch.stack(branches, 1)  # (B, M, C, H, W)
    U = stack.sum(1)  # noqa: N806
    s = U.sum((2, 3)) / (U.shape[2] * U.shape[3])
    z = normalised(s @ unit.fuse.linear.weight.T, unit.fuse.bn).clamp(min=0)
    selectors = unit.select.weight.view(len(branches), -1, z.shape[1])  # one C × d matrix a branch
    e = torch.einsum("mcd,bd->bmc", selectors, z).exp()
    weights = e / e.sum(1, keepdim=True)
    return (weights[..., None, None] * stack).sum(1)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("kernels", "dilated", "dilations"),
    [
        ((3, 5), True, [1, 2]),
        ((3, 5), False, [1, 1]),
        ((1, 3, 7), True, [1, 1, 3]),
        ((1, 3, 5, 7), False, [1, 1, 1, 1]),
        ((3, 5, 7, 5), True, [1, 2, 3, 2]),
    ],
    ids=str,
)
def test_skconv_is_the_papers_equations(kernels, dilated, dilations, stride, training):
    unit = SKConv(
        12, kernels=kernels, dilated=dilated, groups=4, reduction=2, L=4, stride=stride
    ).double()
    randomised(unit).train(training)
    x = torch.randn(3, 12, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(unit(x), paper_skconv(unit, x, dilations, stride, groups=4))


@pytest.mark.parametrize(("reduction", "d"), [(4, 16), (16, 8)])
def test_the_descriptor_has_max_of_channels_over_r_and_l_features(reduction, d):
    assert SKConv(64, reduction=reduction, L=8).select.in_features == d
    assert SKAttention(64, reduction=reduction, L=8).fc.out_features == d


@pytest.mark.parametrize("dilated", [True, False])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 9])
def test_a_branch_sees_its_effective_kernel(kernel, dilated):
    conv = SKConv(2, kernels=(kernel, 3), dilated=dilated, groups=2).convs[0].conv
    nn.init.ones_(conv.weight)
    impulse = torch.zeros(1, 2, 15, 15)
    impulse[..., 7, 7] = 1
    response = conv(impulse)[0, 0]
    step = (kernel - 1) // 2 if dilated and kernel > 3 else 1
    lit = torch.arange(7 - kernel // 2, 7 + kernel // 2 + 1, step)
    expected = torch.zeros(15, 15)
    expected[lit[:, None], lit] = 1
    torch.testing.assert_close(response, expected)


# --- what every unit promises -------------------------------------------------------------------

UNITS = {
    "SKAttention-2": lambda: SKAttention(8, kernels=(3, 5), L=4),
    "SKAttention-4": lambda: SKAttention(8, L=4),
    "SKConv-2": lambda: SKConv(8, groups=4, L=4),
    "SKConv-3": lambda: SKConv(8, kernels=(1, 3, 5), groups=4, L=4),
}


@pytest.fixture(params=UNITS)
def unit(request):
    return randomised(UNITS[request.param]()).eval()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        lambda: SKAttention(3, kernels=(1, 3), L=2),
        lambda: SKConv(4, kernels=(3, 5), groups=2, L=2),
        lambda: SKConv(4, kernels=(1, 3, 3), groups=4, L=2),
    ],
    ids=["SKAttention", "SKConv-2", "SKConv-3"],
)
def test_gradients_are_exact(make, training):
    unit = randomised(make()).double().train(training)
    names, parameters = zip(*unit.named_parameters(), strict=True)
    x = torch.randn(3, parameters[0].shape[0], 3, 4, dtype=torch.float64, requires_grad=True)

    def forward(x, *parameters):
        return functional_call(unit, dict(zip(names, parameters, strict=True)), x)

    assert torch.autograd.gradcheck(forward, (x, *parameters))


def test_hooks_see_every_step_and_what_they_saw_stays(unit):
    seen = {}
    for name, module in unit.named_modules():
        if not list(module.children()):
            module.register_forward_hook(
                lambda _module, _args, output, name=name: seen.setdefault(name, []).append(
                    (output, output.clone())
                )
            )
    with torch.inference_mode():
        output = unit(torch.randn(2, 8, 6, 5))
    steps = {
        f"convs.{i}.{step}" for i in range(len(unit.kernels)) for step in ("conv", "bn", "relu")
    }
    assert steps | {"softmax"} <= seen.keys()
    assert all(len(calls) == 1 for calls in seen.values())
    for kept, copied in (calls[0] for calls in seen.values()):
        torch.testing.assert_close(kept, copied, rtol=0, atol=0)
    weights = seen["softmax"][0][0].squeeze()
    weights = weights if isinstance(unit, SKAttention) else weights.transpose(0, 1)  # (M, B, C)
    torch.testing.assert_close(weights.sum(0), torch.ones(2, 8))
    branches = torch.stack([seen[f"convs.{i}.relu"][0][0] for i in range(len(weights))])
    torch.testing.assert_close(output, (weights[..., None, None] * branches).sum(0))


class Maps(TorchDispatchMode):
    """Keep every tensor that an operator returns."""

    def __init__(self):
        super().__init__()
        self.tensors = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.tensors += [t for t in torch.utils._pytree.tree_leaves(result) if torch.is_tensor(t)]
        return result


def test_evaluation_neither_stacks_the_branches_nor_builds_their_sum(unit):
    with torch.inference_mode(), Maps() as maps:
        output = unit(torch.randn(2, 8, 20, 20))
    sizes = Counter({t.untyped_storage().data_ptr(): t.numel() for t in maps.tensors}.values())
    assert max(sizes) == output.numel()
    assert sizes[output.numel()] == 1 + 3 * len(unit.kernels) + 1  # x; conv, bn, relu; the output


def test_images_of_a_batch_do_not_meet_in_evaluation(unit):
    x = torch.randn(4, 8, 6, 5)
    alone = torch.cat([unit(image[None]) for image in x])
    torch.testing.assert_close(unit(x), alone)


def test_channels_last_stays_channels_last_and_changes_nothing(unit):
    x = torch.randn(2, 8, 6, 5)
    expected = unit(x)
    assert expected.is_contiguous()
    unit.to(memory_format=torch.channels_last)
    output = unit(x.to(memory_format=torch.channels_last))
    assert output.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(output, expected)


@pytest.mark.parametrize("softmax_dtype", [torch.bfloat16, torch.float32])
def test_autocast_mixes_in_bfloat16_whatever_the_softmax_gives(unit, softmax_dtype):
    """On CUDA autocast computes the softmax in float32, on a CPU it does not."""
    x = torch.randn(2, 8, 6, 5)
    expected = unit(x)
    unit.softmax.register_forward_hook(lambda _module, _args, weights: weights.to(softmax_dtype))
    with torch.autocast("cpu", torch.bfloat16):
        output = unit(x)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), expected, rtol=0.05, atol=0.1)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 2), (17, 33)], ids=str)
def test_any_input_size(size, stride):
    unit = SKConv(8, kernels=(3, 5, 7), groups=4, stride=stride).eval()
    expected = (2, 8, *(math.ceil(side / stride) for side in size))
    assert unit(torch.randn(2, 8, *size)).shape == expected


# --- networks -----------------------------------------------------------------------------------


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("make", "millions", "multiply_adds", "digits"),
    [
        (sknet26, 16.8, {2.6}, 1),
        (sknet50, 27.5, {4.46, 4.47}, 2),
        (sknet101, 48.9, {8.45, 8.46}, 2),
    ],
)
def test_the_papers_parameters_and_multiply_adds(make, millions, multiply_adds, digits):
    with torch.device("meta"):
        model = make().eval()
        with FlopCounterMode(display=False) as counter:
            assert model(torch.empty(1, 3, 224, 224)).shape == (1, 1000)
    # SKNet-26 and -101 have 0.3 % less than the paper says, like pytorchcv's networks.
    assert parameters(model) / 1e6 == pytest.approx(millions, rel=0.004)
    assert round(counter.get_total_flops() / 2e9, digits) in multiply_adds


@pytest.mark.parametrize("name", ["sknet50", "sknet101"])
def test_pytorchcv_counts_the_same_parameters(name):
    with torch.device("meta"):
        ours, theirs = getattr(skviz.models.nn, name)(), getattr(pytorchcv_sknet, name)()
    assert parameters(ours) == parameters(theirs)


@pytest.mark.parametrize("stem_stride", [1, 2, 4])
@pytest.mark.parametrize("size", [(1, 1), (31, 18)], ids=str)
def test_small_networks_take_images_of_any_size(stem_stride, size):
    model = SKNet(
        (1, 2), (8, 16), num_classes=5, in_channels=4, stem_stride=stem_stride, groups=4, L=4
    )
    maps = []
    model.stage1.register_forward_hook(lambda _module, _args, output: maps.append(output.shape[2:]))
    logits = model.eval()(torch.randn(2, 4, *size))
    assert logits.shape == (2, 5)
    assert maps == [tuple(math.ceil(side / stem_stride) for side in size)]


def test_options_reach_every_unit():
    model = SKNet((1, 2), (8, 16), kernels=(1, 3, 5), dilated=False, groups=2)
    units = [module for module in model.modules() if isinstance(module, SKConv)]
    assert [unit.kernels for unit in units] == [(1, 3, 5)] * 3
    assert [unit.convs[2].conv.kernel_size for unit in units] == [(5, 5)] * 3
    assert {unit.convs[2].conv.groups for unit in units} == {2}


def test_a_unit_adds_its_input():
    unit = SKUnit(16, 8, 16, groups=4, L=4).eval()
    nn.init.zeros_(unit.expand.bn.weight)
    x = torch.randn(2, 16, 5, 4)
    torch.testing.assert_close(unit(x), x.clamp(min=0))


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SKConv(32, kernels=(3,)), r"kernels=\(3,\).*at least two"),
        (lambda: SKAttention(8, kernels=[]), r"kernels=\(\).*at least two"),
        (lambda: SKConv(32, kernels=(3, 4)), r"odd.*\(3, 4\)"),
        (lambda: SKAttention(8, kernels=(-1, 3)), r"from 1 to.*\(-1, 3\)"),
        (lambda: SKConv(30), r"channels \(30\).*groups \(32\)"),
        (lambda: SKAttention(8, group=3), r"channels \(8\).*groups \(3\)"),
        (lambda: SKAttention(8, group=0), r"group must be .* from 1 .* got 0"),
        (lambda: SKNet((1, 1), (32, 64), stem_stride=3), "stem_stride must be 1 or 2 or 4; got 3"),
        (lambda: SKNet((1, 2, 3), (32, 64)), r"depths=\(1, 2, 3\) and widths=\(32, 64\)"),
    ],
)
def test_what_cannot_be_built_is_named(make, message):
    with pytest.raises(ModelError, match=message):
        make()


@pytest.mark.parametrize("kernels", [(3, 5), (3, 5, 7)])
def test_fx_and_torchvision_can_trace_a_network(kernels):
    net = SKNet(
        (1, 1), (8, 16), num_classes=5, stem_channels=8, stem_stride=2, groups=2, kernels=kernels
    ).eval()
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(torch.fx.symbolic_trace(net)(x), net(x))
    extractor = create_feature_extractor(net, ["stage2.0.sk.softmax"])
    with skviz.record(net) as recording:
        net(x)
    weights = extractor(x)["stage2.0.sk.softmax"]
    assert torch.equal(weights, recording.weights["stage2.0.sk"])
