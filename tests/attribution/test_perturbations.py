"""What is covered or taken away, beside Captum and beside doing it by hand."""

import captum.attr
import numpy as np
import torch

import skviz

from .peer import agree, mean_weight
from .test_gradients import maps, mean_colour


def test_occlusion(any_subject):
    found = maps(any_subject, method="occlusion", window=10, stride=8)
    baseline = mean_colour(any_subject.images)
    with torch.no_grad():
        for index, value in enumerate(any_subject.values):
            peer = captum.attr.Occlusion(value).attribute(
                any_subject.images,
                sliding_window_shapes=(3, 10, 10),
                strides=(3, 8, 8),
                baselines=baseline,
            )
            agree(found[index], peer.mean(1))


def test_occlusion_is_covering_patches_by_hand(shipped):
    window, grey = 8, 0.4
    name = "stage1.1.sk"
    ds = skviz.attribute(
        shipped.model,
        shipped.images,
        target=[skviz.target.branch(name, kernel=5), skviz.target.branch(name, kernel=3)],
        method="occlusion",
        window=window,
        stride=window,
        baseline=grey,
    )
    for index, branch in enumerate((1, 0)):
        value = mean_weight(shipped.model, name, branch)
        with torch.no_grad():
            before = value(shipped.images)
            np.testing.assert_allclose(ds["value"][index], before, rtol=1e-6)
            expected = torch.zeros(len(before), *shipped.images.shape[2:])
            for top in range(0, expected.shape[1], window):
                for left in range(0, expected.shape[2], window):
                    rows, columns = slice(top, top + window), slice(left, left + window)
                    covered = shipped.images.clone()
                    covered[:, :, rows, columns] = grey
                    change = before - value(covered)
                    expected[:, rows, columns] = change[:, None, None]
        agree(torch.tensor(ds["attribution"].values[index]), expected)


def test_feature_ablation(any_subject):
    side = any_subject.images.shape[-1]
    mask = torch.zeros(len(any_subject.images), side, side)
    for index, part in enumerate(mask):
        part[index + 2 : side // 2, 3 : side // 2 + index] = 1
    found = maps(any_subject, method="feature_ablation", mask=mask)
    pixels = torch.stack([(mask == kind).sum((1, 2)) for kind in (0, 1)], 1)  # (image, 2)
    each = pixels.gather(1, mask.long().flatten(1)).view_as(mask)
    baseline = mean_colour(any_subject.images)
    with torch.no_grad():
        for index, value in enumerate(any_subject.values):
            peer = captum.attr.FeatureAblation(value).attribute(
                any_subject.images, baselines=baseline, feature_mask=mask.long()[:, None]
            )
            agree(found[index] * each, peer.mean(1))
