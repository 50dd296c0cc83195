from dataclasses import replace

import numpy as np
import pytest
import torch

import skviz
from skviz.errors import DataError, SceneError, SkvizError
from skviz.models.nn import SKNet
from skviz.studies import setting


def test_layout(ds):
    assert ds["weight"].dims == ("image", "scale", "unit", "branch")
    assert ds["unit"].values.tolist() == ["stage1.0.sk", "stage2.0.sk"]
    np.testing.assert_array_equal(ds["kernel"].values, [[3, 5, np.nan], [3, 5, 7]])
    assert ds["category"].values.tolist()[0] == "airplane"
    assert skviz.stats.channels(ds, "stage2.0.sk").dims == ("image", "scale", "branch", "channel")
    assert skviz.stats.channels(ds, "stage2.0.sk").sizes["channel"] == 16


def test_weights_are_those_of_one_image_at_a_time(small_net, few, ds):
    """Recomputed scene by scene with the softmax taken by hand."""
    scenes = skviz.place(few, canvas=32)
    logits = {}
    unit = small_net.stage2[0].sk
    handle = unit.select.register_forward_hook(lambda _m, _i, out: logits.update(now=out))
    try:
        for image in (0, 3):
            for scale in (0.5, 2.0):
                with torch.no_grad():
                    small_net(scenes[image : image + 1].render(scale))
                weights = logits["now"].view(3, 16).softmax(0)
                here = (
                    skviz.stats.channels(ds, "stage2.0.sk")
                    .isel(image=image)
                    .sel(scale=scale)
                    .values
                )
                np.testing.assert_allclose(here, weights.numpy(), atol=1e-6)
                mean = ds["weight"].isel(image=image).sel(scale=scale, unit="stage2.0.sk").values
                np.testing.assert_allclose(mean, weights.mean(1).numpy(), atol=1e-6)
                spread = ds["spread"].isel(image=image).sel(scale=scale, unit="stage2.0.sk")
                np.testing.assert_allclose(
                    spread.values, weights.std(1, correction=0).numpy(), atol=1e-6
                )
    finally:
        handle.remove()


def test_branches_sum_to_one_and_absent_ones_are_blank(ds):
    weight = ds["weight"]
    np.testing.assert_allclose(weight.sum("branch", skipna=True).values, 1, atol=1e-6)
    assert np.isnan(weight.sel(unit="stage1.0.sk").isel(branch=2).values).all()


def test_thumbnails_are_the_scenes_shown(few, ds):
    scenes = skviz.place(few, canvas=32)
    shown = ds["thumbnail"].isel(example=1).sel(scale=1.5).values
    expected = (scenes.render(1.5)[1] * 255).round().byte().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(shown, expected)


@pytest.mark.parametrize(("canvas", "size"), [(32, 64), (96, 8), (224, 2), (2000, 1)])
def test_a_cpu_gets_batches_that_fit_its_caches(few, canvas, size):
    scenes = replace(skviz.place(few, canvas=32), canvas=canvas)
    assert setting.batch_size(scenes, torch.device("cpu")) == size
    assert setting.batch_size(scenes, torch.device("meta")) == 32


def test_batch_size_changes_nothing(small_net, few, ds):
    again = skviz.sweep(small_net, skviz.place(few, canvas=32), scales=[0.5, 1, 1.5, 2], batch=2)
    np.testing.assert_allclose(again["weight"].values, ds["weight"].values, atol=1e-6)
    np.testing.assert_array_equal(again["prediction"].values, ds["prediction"].values)
    assert again.sizes["example"] == ds.sizes["example"] == 4


def test_the_model_comes_back_as_it_was(few):
    model = SKNet((1,), (8,), num_classes=3, stem_channels=8, stem_stride=2, groups=2)
    model.train()
    model.stage1[0].eval()
    flags = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    skviz.sweep(model, few, scales=[1.0])
    assert [module.training for module in model.modules()] == flags
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)


def test_a_failing_sweep_restores_the_model_too(few):
    model = SKNet((1,), (8,), num_classes=3, stem_channels=8, groups=2).train()
    with pytest.raises(SceneError, match="largest scale"):
        skviz.sweep(model, few, scales=[1.0, 9.0])
    assert model.training


def test_knows_what_is_correct(few):
    model = skviz.load("objects")
    ds = skviz.sweep(model, few, scales=[1.0])
    named = np.array(model.card.categories)[ds["prediction"].values[:, 0].astype(int)]
    np.testing.assert_array_equal(ds["correct"].values[:, 0], named == np.array(few.category))
    assert ds.attrs["model"] == "objects"


def test_provenance_tells_models_apart(small_net, few, ds):
    scenes = skviz.place(few, canvas=32)
    other = SKNet((1,), (8,), num_classes=7, stem_channels=8, stem_stride=2, groups=2)
    again = skviz.sweep(small_net, scenes, scales=[1.0])
    assert again.attrs["model_sha256"] == ds.attrs["model_sha256"]
    assert (
        skviz.sweep(other, scenes, scales=[1.0]).attrs["model_sha256"]
        != again.attrs["model_sha256"]
    )
    assert ds.attrs["protocol"] == "rescale"
    assert ds.attrs["canvas"] == 32


@pytest.mark.parametrize("scales", [[], [1.0, 1.0], [2.0, 1.0]])
def test_scales_must_increase(small_net, few, scales):
    with pytest.raises(SkvizError, match="increasing"):
        skviz.sweep(small_net, few, scales=scales)


def test_zoomed_photographs(small_net):
    pictures = skviz.photographs()
    ds = skviz.sweep(small_net, pictures.zoom(canvas=48), scales=[1.0, 1.5, 2.0])
    assert ds["image"].values.tolist() == list(pictures.ids)
    assert ds.attrs["protocol"] == "zoom"


def test_bfloat16_says_what_it_changes_and_is_another_study(small_net, few, tmp_path):
    scenes, path = skviz.place(few, canvas=32), tmp_path / "s.zarr"
    asked = {"scales": [0.5, 1.0], "progress": False, "device": "cpu"}
    plain = skviz.sweep(small_net, scenes, **asked)
    found = skviz.sweep(small_net, scenes, precision="bfloat16", store=path, channels=True, **asked)
    assert found.attrs["precision"] == "bfloat16"
    assert "precision" not in plain.attrs
    assert "precision_error" not in plain.coords
    error = float(found["precision_error"].max())
    changed = abs(found["channel_weight"] - plain["channel_weight"])
    assert 1e-5 < error < 0.02
    assert float(changed.isel(scale=-1).max()) == pytest.approx(error, rel=0.5)  # in all scenes
    assert float(changed.max()) < 3 * error
    sums = found["channel_weight"].sum("branch", skipna=True)
    np.testing.assert_allclose(sums, 1, atol=2**-8)  # as far as it can say 1
    with pytest.raises(DataError, match="another study"):
        skviz.sweep(small_net, scenes, store=path, channels=True, **asked)
    with pytest.raises(SkvizError, match="computes in float32"):
        skviz.sweep(small_net, scenes, engine="onnx", precision="bfloat16", **asked)
    # Its own few scenes are what the error is of.
    few_again = skviz.sweep(small_net, scenes, precision="bfloat16", **asked)
    np.testing.assert_array_equal(few_again["precision_error"], found["precision_error"])


def test_a_study_in_float32_leaves_the_users_own_autocast_alone(small_net, few):
    scenes = skviz.place(few[:2], canvas=32)
    asked = {"scales": [1.0], "progress": False, "device": "cpu"}
    with torch.autocast("cpu", torch.bfloat16):
        own = skviz.sweep(small_net, scenes, **asked)
    rough = skviz.sweep(small_net, scenes, precision="bfloat16", **asked)
    np.testing.assert_allclose(own["weight"], rough["weight"], atol=2e-3)
    assert (
        float(abs(own["weight"] - skviz.sweep(small_net, scenes, **asked)["weight"]).max()) > 1e-5
    )
