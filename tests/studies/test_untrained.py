import pytest
import torch
from torch import nn

from recipes.train import make_network
from recipes.train_objects import RECIPES
from skviz.errors import ModelError
from skviz.models.nn import SKNet
from skviz.studies.untrained import untrained

IMAGES = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 3 - 1


@pytest.fixture(params=[True, False], ids=["in training", "in evaluation"])
def model(request) -> SKNet:
    torch.manual_seed(5)
    made = SKNet((1,), (8,), num_classes=4, stem_channels=8, stem_stride=2, groups=1, L=8)
    return made.train(request.param)


def test_nothing_learned_is_left_and_the_model_is_untouched(model):
    before, training = {k: v.clone() for k, v in model.state_dict().items()}, model.training
    random = torch.random.get_rng_state()
    made = untrained(model, [IMAGES], seed=3)
    assert torch.equal(torch.random.get_rng_state(), random)
    assert model.training == training
    assert not made.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
        if "conv.weight" in name or "fc.weight" in name or "linear" in name:
            assert not torch.equal(made.state_dict()[name], value)
    again, other = (untrained(model, [IMAGES], seed=seed) for seed in (3, 4))
    assert torch.equal(again.stem.conv.weight, made.stem.conv.weight)
    assert not torch.equal(other.stem.conv.weight, made.stem.conv.weight)


def test_convolutions_are_drawn_as_a_new_network_draws_them():
    fresh = make_network(RECIPES["objects"], seed=7)
    made = untrained(fresh, [torch.rand(4, 3, 64, 64)], seed=1)
    for a, b in zip(fresh.modules(), made.modules(), strict=True):
        if isinstance(a, nn.Conv2d):
            drawn, new = (float(conv.weight.detach().std()) for conv in (b, a))
            assert drawn == pytest.approx(new, rel=0.2)


def test_batch_norms_have_the_statistics_of_the_images(model):
    made = untrained(model, IMAGES.split(8), seed=3)
    with torch.no_grad():
        before = made.stem.conv(IMAGES)  # (image, C, y, x)
    torch.testing.assert_close(made.stem.bn.running_mean, before.mean((0, 2, 3)))
    batches = torch.stack([part.var((0, 2, 3)) for part in before.split(8)])
    torch.testing.assert_close(made.stem.bn.running_var, batches.mean(0))


def test_a_parameter_that_nobody_can_draw_anew_is_an_error():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)
            self.scale = nn.Parameter(torch.ones(1))

    with pytest.raises(ModelError, match=r"'\.scale' would stay as trained"):
        untrained(Scaled(), [], seed=0)
