from dataclasses import replace

import pytest
import torch

from recipes import train_objects as train
from recipes.train import make_network
from skviz.scenes import cutouts
from skviz.scenes.backgrounds import HELD_OUT_BACKGROUNDS, real_backgrounds
from tests.processes import TINY


@pytest.fixture(scope="module")
def studio() -> train.Studio:
    return train.Studio.of(replace(TINY, batch=16), torch.device("cpu"))


def test_scenes_depend_on_the_step_alone(studio):
    images, labels = train.training_scenes(studio, 3)
    again, same = train.training_scenes(studio, 3)
    other, _ = train.training_scenes(studio, 4)
    assert torch.equal(images, again)
    assert torch.equal(labels, same)
    assert not torch.equal(images, other)
    assert images.shape == (16, 3, 32, 32)
    assert 0 <= images.min() < images.max() <= 1


def test_only_training_families_and_backgrounds_are_seen(studio):
    assert len(studio.labels) == 67 * len(cutouts.TRAIN_FAMILIES)
    assert len(studio.pictures) == len(real_backgrounds()) - len(HELD_OUT_BACKGROUNDS)
    assert not set(cutouts.TRAIN_FAMILIES) & set(cutouts.HELD_OUT_FAMILIES)


def test_colour_maps_keep_grey_grey_and_turn_hue():
    u = torch.rand(50, 3)
    maps = train.colour_maps(u)
    grey = maps @ torch.ones(3)
    torch.testing.assert_close(grey, (0.7 + 0.6 * u[:, 2])[:, None].expand(-1, 3))
    full = train.colour_maps(torch.tensor([[1.0, 0.6 / 0.9, 0.5]]))[0]  # 180°, nothing else
    torch.testing.assert_close(full @ full, torch.eye(3), atol=1e-5, rtol=0)
    red = full @ torch.tensor([1.0, 0, 0])
    assert red.argmin() == 0
    assert torch.allclose(red[1], red[2], atol=1e-5)


def test_linear_maps_keep_area():
    maps = train.linear_maps(torch.rand(50, 4))
    torch.testing.assert_close(torch.linalg.det(maps).abs(), torch.ones(50))
    assert {1.0, -1.0} == set(torch.linalg.det(maps).sign().tolist())


def test_a_share_is_part_of_the_step(studio):
    images, labels = train.training_scenes(studio, 3)
    some, theirs = train.training_scenes(studio, 3, slice(1, None, 4))
    assert torch.equal(labels[1::4], theirs)
    torch.testing.assert_close(images[1::4], some, atol=1e-5, rtol=0)  # another batch: float32


def test_recipes_build_the_shipped_networks():
    for recipe in train.RECIPES.values():
        model = make_network(recipe)
        again = make_network(recipe)
        other = make_network(recipe, seed=1)
        assert torch.equal(model.fc.weight, again.fc.weight)
        assert not torch.equal(model.fc.weight, other.fc.weight)
