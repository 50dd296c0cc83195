import json
from dataclasses import replace

import pytest
import torch

from skviz import data, train
from skviz.errors import ModelError

TINY = train.Recipe(
    name="tiny",
    network={
        "depths": [1, 1],
        "widths": [8, 16],
        "stem_channels": 8,
        "stem_stride": 2,
        "groups": 2,
    },
    steps=6,
    batch=4,
    canvas=32,
    learning_rate=1e-3,
)


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
    assert len(studio.labels) == 67 * len(data.TRAIN_FAMILIES)
    assert len(studio.pictures) == len(data.real_backgrounds()) - len(data.HELD_OUT_BACKGROUNDS)
    assert not set(data.TRAIN_FAMILIES) & set(data.HELD_OUT_FAMILIES)


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


def test_a_stopped_run_ends_with_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 2)
    whole = train.train(TINY, tmp_path / "whole", bfloat16=False, progress=False)

    def stop(studio: train.Studio, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        if step == 5:
            raise KeyboardInterrupt
        return scenes(studio, step)

    scenes = train.training_scenes
    monkeypatch.setattr(train, "training_scenes", stop)
    with pytest.raises(KeyboardInterrupt):
        train.train(TINY, tmp_path / "parts", bfloat16=False, progress=False)
    monkeypatch.setattr(train, "training_scenes", scenes)
    parts = train.train(TINY, tmp_path / "parts", bfloat16=False, progress=False)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    log = [json.loads(line) for line in (tmp_path / "parts/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [2, 4, 6]


def test_training_fits_its_scenes(tmp_path, monkeypatch):
    """With the same few scenes at every step the loss must fall far."""
    scenes = train.training_scenes
    monkeypatch.setattr(train, "training_scenes", lambda studio, _: scenes(studio, 0))
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 1)
    recipe = replace(TINY, steps=40, batch=8, learning_rate=1e-2, label_smoothing=0.0)
    train.train(recipe, tmp_path, bfloat16=False, progress=False)
    losses = [
        json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()
    ]
    assert losses[0] > 3.5
    assert losses[-1] < 0.3 * losses[0]


def test_a_run_of_another_recipe_is_refused(tmp_path):
    train.train(replace(TINY, steps=1), tmp_path, progress=False)
    with pytest.raises(ModelError, match="another recipe"):
        train.train(replace(TINY, steps=2), tmp_path, progress=False)


def test_recipes_build_the_shipped_networks():
    for recipe in train.RECIPES.values():
        model = train.make_network(recipe)
        again = train.make_network(recipe)
        other = train.make_network(recipe, seed=1)
        assert torch.equal(model.fc.weight, again.fc.weight)
        assert not torch.equal(model.fc.weight, other.fc.weight)
