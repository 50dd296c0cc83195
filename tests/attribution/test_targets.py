"""What is attributed: the values, their names, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

import skviz
from skviz.errors import AttributionError, UnitError
from skviz.models.nn import SKNet

from .peer import mean_weight


def saliency(subject, target, **options):
    model, images = subject.model, subject.images
    return skviz.attribute(model, images, target=target, method="saliency", **options)


def test_values_are_what_the_model_says(any_subject):
    ds = saliency(any_subject, any_subject.targets)
    for index, value in enumerate(any_subject.values):
        with torch.no_grad():
            expected = value(any_subject.images)
        np.testing.assert_allclose(ds["value"][index], expected, rtol=1e-5, atol=1e-7)


def test_classes(shipped, scenes):
    names = shipped.model.card.categories
    with torch.no_grad():
        logits = shipped.model(shipped.images)
    ds = saliency(shipped, ["predicted", names[3], 3])
    np.testing.assert_allclose(ds["value"][0], logits.amax(1), rtol=1e-5)
    np.testing.assert_allclose(ds["value"][1:], [logits[:, 3]] * 2, rtol=1e-5)
    assert list(ds["target"].values) == ["predicted class", names[3], names[3]]
    assert saliency(shipped, [3, 7]).sizes["target"] == 2  # a list is several targets
    given = saliency(shipped, skviz.target.classes([3, 7, 3]))
    np.testing.assert_allclose(given["value"][0], logits[range(3), [3, 7, 3]], rtol=1e-5)
    true = skviz.attribute(shipped.model, scenes, target=skviz.target.category(), method="saliency")
    own = logits[range(3), [names.index(category) for category in scenes.category]]
    np.testing.assert_allclose(true["value"][0, :, 0], own, rtol=1e-5)


def test_every_branch(spatial, small_net, scenes):
    units = skviz.find_units(spatial.model, spatial.images)
    asked = skviz.target.every_branch(units)
    assert [(target.unit, target.branch) for target in asked] == [
        (name, branch) for name in ("pixel", "twice@0", "twice@1") for branch in (0, 1)
    ]
    ds = saliency(spatial, asked)
    for index, target in enumerate(asked):
        with torch.no_grad():
            expected = mean_weight(spatial.model, target.unit, target.branch)(spatial.images)
        np.testing.assert_allclose(ds["value"][index], expected, rtol=1e-6)
    images = scenes.render(1.0)
    difference = skviz.attribute(
        small_net, images, target=skviz.target.difference("stage2.0.sk"), method="saliency"
    )
    with torch.no_grad(), skviz.record(small_net) as recording:
        small_net(images)
    weights = recording.weights["stage2.0.sk"].mean(2)  # kernels 3, 5, 7
    np.testing.assert_allclose(difference["value"][0], weights[:, 2] - weights[:, 0], rtol=1e-4)


REFUSED = [
    ("nobody", AttributionError, "no class is called 'nobody'; the model has "),
    (67, AttributionError, "classes 0 to 66, got 67"),
    (-1, AttributionError, "classes 0 to 66, got -1"),
    (skviz.target.classes([1, 2, 67]), AttributionError, "classes 0 to 66"),
    (skviz.target.classes([1, 2]), AttributionError, "expected 3 classes, one for each image"),
    ([], AttributionError, "got none"),
    (1.5, AttributionError, "a target is"),
    (True, AttributionError, "a target is"),
    (None, AttributionError, "a target is"),
    ("category", AttributionError, "give the class"),
    (skviz.target.branch("nope", kernel=3), UnitError, "no unit is called 'nope'"),
    (skviz.target.branch("stage2.1.sk@0", kernel=3), UnitError, "'stage2.1.sk@0'"),
    (skviz.target.branch("stage2.1.sk", kernel=9), UnitError, "not 9"),
    (skviz.target.branch("stage2.1.sk", branch=2), UnitError, "branches 0 to 1"),
    (skviz.target.branch("stage2.1.sk"), UnitError, "say which branch"),
    (
        skviz.target.branch("stage2.1.sk", kernel=3, channels=[64]),
        AttributionError,
        "channels 0 to 63",
    ),
    (
        skviz.target.branch("stage2.1.sk", kernel=3, channels=[]),
        AttributionError,
        "channels 0 to 63",
    ),
    (skviz.target.difference("stem"), UnitError, "no unit is called 'stem'"),
]


def test_no_difference_between_kernels_that_are_equal():
    same = SKNet((1,), (8,), kernels=(3, 3), stem_channels=8, groups=2).eval()
    with pytest.raises(AttributionError, match="not one smallest and one largest"):
        skviz.attribute(
            same, torch.rand(2, 3, 16, 16), target=skviz.target.difference("stage1.0.sk")
        )


@pytest.mark.parametrize(("target", "error", "match"), REFUSED)
def test_targets_that_are_not_there(shipped, target, error, match):
    with pytest.raises(error, match=match):
        saliency(shipped, target)


def test_a_unit_that_runs_twice_is_named_by_call(twice):
    for name in ("twice", "twice@2"):
        with pytest.raises(UnitError, match=r"runs 2 times .* twice@0, twice@1"):
            saliency(twice, skviz.target.branch(name, branch=0))


def test_a_class_without_logits():
    body = nn.Sequential(SKNet((1,), (8,), stem_channels=8, groups=2).stem).eval()
    with pytest.raises(AttributionError, match=r"needs logits .* target a branch"):
        skviz.attribute(body, torch.rand(2, 3, 16, 16), method="saliency")


def test_weights_that_are_put_there_depend_on_no_pixel(shipped):
    """Whether the units are known to the intervention already or not."""
    both = [skviz.target.branch("stage2.1.sk", kernel=5), 1]
    model = skviz.load("objects")  # whose units nobody has looked for
    with skviz.intervene(model, {"stage2.1.sk": 3}):
        for method in ("saliency", "occlusion"):
            ds = skviz.attribute(model, shipped.images, target=both, method=method)
            assert not ds["attribution"][0].any()
            assert not ds["value"][0].any()
            assert ds["attribution"][1].any()
    assert saliency(shipped, both)["attribution"][0].any()
