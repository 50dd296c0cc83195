from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recipes import train, train_cifar
from skviz.errors import ModelError
from tests.processes import TINY as TINY_OBJECTS

TINY = {"depths": (1,), "widths": (8,), "stem_channels": 64, "stem_stride": 2, "groups": 1}
RECIPE = train_cifar.CifarRecipe(
    network=TINY, batch=4, warmup=2, cycles=((6, 2),), steps=6, learning_rate=1e-3
)


@pytest.fixture(autouse=True)
def photographs(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Forty smooth pictures in place of the data set."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((40, 3, 8, 8), generator=generator)
    smooth = F.interpolate(coarse, 32, mode="bicubic").clamp(0, 1)
    data = (smooth * 255).byte().permute(0, 2, 3, 1).numpy()
    few = SimpleNamespace(data=data, targets=[i % 10 for i in range(40)])
    monkeypatch.setattr(train_cifar, "Cifar10", lambda **_: few)
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 1)
    return data


def run(recipe, folder):
    return train.train(recipe, folder, where="cpu", bfloat16=False, progress=False).state_dict()


def test_a_step_is_a_crop_of_its_photographs(photographs):
    images = torch.from_numpy(photographs).permute(0, 3, 1, 2)
    labels = torch.arange(40)
    seen = []
    for step in range(10):  # one epoch
        batch, names = RECIPE.photographs(images, labels, step)
        again, _ = RECIPE.photographs(images, labels, step)
        assert torch.equal(batch, again)
        seen += names.tolist()
        windows = images[names[0]].unfold(1, 28, 1).unfold(2, 28, 1)  # (3, 5, 5, 28, 28)
        windows = windows.permute(1, 2, 0, 3, 4).flatten(0, 1).float() / 255
        assert any(torch.equal(batch[0], w) or torch.equal(batch[0], w.flip(2)) for w in windows)
    assert sorted(seen) == list(range(40))


def test_the_stem_whitens(photographs):
    network = train.make_network(RECIPE)
    images = torch.from_numpy(photographs).permute(0, 3, 1, 2).float() / 255
    weight = network.get_parameter("stem.conv.weight")
    out = F.conv2d(images, weight[:27]).permute(1, 0, 2, 3).flatten(1)
    covariance = torch.cov(out)
    off = covariance - torch.diag(covariance.diag())
    assert off.abs().max() < 0.1
    assert covariance.diag().max() < 1.2
    torch.testing.assert_close(weight[27:54], -weight[:27])


def test_the_rate_rises_stays_and_falls():
    recipe = replace(RECIPE, cycles=((10, 4), (6, 3)), steps=16)
    heights = [recipe.height(step) for step in range(17)]
    first = [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    assert heights == pytest.approx([*first, 0.5, 1, 1, 1, 2 / 3, 1 / 3, 0])


@pytest.mark.parametrize("stopped", [((9, 2),), ((6, 2), (9, 2))])
def test_a_run_may_be_resumed_with_other_cycles(tmp_path, monkeypatch, stopped):
    """Stopped after 5 steps of a longer run, or after 6 of which the second cycle is dropped."""
    wanted = replace(RECIPE, cycles=((7, 2),), steps=7)
    if len(stopped) == 2:
        wanted = replace(RECIPE, cycles=((6, 2), (4, 1)), steps=10)
    whole = run(wanted, tmp_path / "whole")
    after = 6 if len(stopped) == 2 else 5
    batches = train_cifar.CifarRecipe.photographs

    def stop(recipe, images, labels, step, share):
        if step == after:
            raise KeyboardInterrupt
        return batches(recipe, images, labels, step, share)

    monkeypatch.setattr(train_cifar.CifarRecipe, "photographs", stop)
    with pytest.raises(KeyboardInterrupt):
        run(replace(RECIPE, cycles=stopped, steps=sum(s for s, _ in stopped)), tmp_path / "parts")
    monkeypatch.setattr(train_cifar.CifarRecipe, "photographs", batches)
    parts = run(wanted, tmp_path / "parts")
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_a_finished_cycle_can_be_followed_by_another(tmp_path):
    longer = replace(RECIPE, cycles=((6, 2), (4, 1)), steps=10)
    whole = run(longer, tmp_path / "whole")
    run(RECIPE, tmp_path / "parts")
    parts = run(longer, tmp_path / "parts")
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_cycles_that_differ_before_are_refused(tmp_path):
    run(RECIPE, tmp_path)
    with pytest.raises(ModelError, match="another recipe"):
        run(replace(RECIPE, cycles=((9, 2),), steps=9), tmp_path)
    with pytest.raises(ModelError, match="another recipe"):
        run(replace(RECIPE, cycles=((6, 2), (3, 1)), steps=9, seed=1), tmp_path)
    assert not RECIPE.continues(TINY_OBJECTS.plain(), 1)
