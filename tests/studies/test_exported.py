"""``to_onnx``: the graph gives what the model gives, and takes what `intervene` takes."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import skviz
from skviz.errors import DataError, ModelError, SkvizError, UnitError
from skviz.models.nn import SKAttention
from skviz.studies import exported


class Graph:
    """What onnxruntime gives, by name."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(path, options)
        self.told = json.loads(onnx.load(path).metadata_props[0].value)
        self.names = [one.name for one in self.session.get_outputs()]

    def __call__(self, images: Tensor, **given: Tensor) -> dict[str, np.ndarray]:
        feed = {"images": images.numpy()}
        for name, weights in given.items():
            feed |= {f"switch.{name}": np.array([True]), f"given.{name}": weights.numpy()}
        return dict(zip(self.names, self.session.run(None, feed), strict=True))


@pytest.fixture(scope="module")
def graph(small_net, tmp_path_factory) -> Graph:
    path = tmp_path_factory.mktemp("graph") / "small.onnx"
    assert skviz.to_onnx(small_net, path, torch.rand(2, 3, 32, 32)) == path
    return Graph(path)


@pytest.mark.parametrize("count", [1, 5])
def test_it_gives_the_answer_and_the_weights(graph, small_net, few, count):
    images = skviz.place(few, canvas=32).render(1.0)[:count]
    with torch.no_grad(), skviz.record(small_net) as recording:
        logits = small_net(images)
    found = graph(images)
    assert graph.names == ["logits", *(f"weights.{name}" for name in recording.weights)]
    np.testing.assert_allclose(found["logits"], logits, atol=1e-5)
    for name, weights in recording.weights.items():
        np.testing.assert_allclose(found[f"weights.{name}"], weights, atol=1e-5)
        assert float(weights.std()) > 0.01  # else equal weights would do


def forced(weights: Tensor) -> Tensor:
    return torch.tensor([0.0, 1.0, 0.0])[: weights.shape[1], None].expand(1, -1, 1)


def ablated(weights: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(weights[:, :1]), weights[:, 1:]], 1) / weights[:, 1:].sum(
        1, keepdim=True
    )


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (forced, skviz.force(branch=1)),
        (ablated, skviz.ablate(branch=0)),
        (lambda weights: weights.flip(0), lambda weights: weights.flip(0)),
        (lambda weights: weights[:1], lambda weights: weights[:1].expand_as(weights)),
        (lambda weights: torch.full_like(weights[:1, :, :1], 1 / weights.shape[1]), "uniform"),
    ],
    ids=["force", "ablate", "swap", "of one image", "uniform"],
)
def test_it_takes_what_intervene_takes(graph, small_net, given, asked):
    images = torch.rand(4, 3, 32, 32) * torch.tensor([0.05, 0.3, 1, 3])[:, None, None, None]
    with torch.no_grad(), skviz.record(small_net) as recording:
        plain = small_net(images)
    for name, weights in recording.weights.items():
        with (
            torch.no_grad(),
            skviz.record(small_net) as changed,
            skviz.intervene(small_net, {name: asked}),
        ):
            logits = small_net(images)
        found = graph(images, **{name: given(weights)})
        np.testing.assert_allclose(found["logits"], logits, atol=1e-5)
        for other, expected in changed.weights.items():
            np.testing.assert_allclose(found[f"weights.{other}"], expected, atol=1e-5)
        assert float((logits - plain).abs().max()) > 1e-3  # the switch is none that does nothing


def test_it_says_what_it_is(graph, small_net):
    units = skviz.find_units(small_net, torch.rand(1, 3, 32, 32))
    assert [unit["name"] for unit in graph.told["units"]] == list(units.names)
    assert [tuple(unit["kernels"]) for unit in graph.told["units"]] == [u.kernels for u in units]
    assert graph.told["canvas"] == 32
    assert 0 < graph.told["error"] < 1e-5
    assert graph.told["provenance"]["model_sha256"]


class Blocks(nn.Module):
    """A unit that runs twice, after something that a child of this changes."""

    def __init__(self, change: Callable[[Tensor], Tensor] = torch.relu) -> None:
        super().__init__()
        self.first, self.sk = nn.Conv2d(3, 8, 3), SKAttention(8, kernels=(3, 5))
        self.head, self.change = nn.Linear(8, 4), change

    def forward(self, x: Tensor) -> Tensor:
        x = self.sk(self.sk(self.change(self.first(x))))
        return self.head(x.mean((2, 3)))


def test_each_call_of_a_unit_has_weights_of_its_own(tmp_path):
    model, images = Blocks().eval(), torch.rand(3, 3, 16, 16)
    found = Graph(skviz.to_onnx(model, tmp_path / "twice.onnx", images))(images)
    with torch.no_grad(), skviz.record(model) as recording:
        model(images)
    assert set(recording.weights) == {"sk@0", "sk@1"}
    for name, weights in recording.weights.items():
        np.testing.assert_allclose(found[f"weights.{name}"], weights, atol=1e-5)


def test_a_wrapped_model_normalises_in_the_graph(small_net, tmp_path):
    model = skviz.wrap(small_net, mean=[0.5, 0.4, 0.3], std=[0.1, 0.2, 0.3], canvas=32)
    images = torch.rand(3, 3, 32, 32)
    graph = Graph(skviz.to_onnx(model, tmp_path / "wrapped.onnx"))
    assert graph.told["categories"] is None
    with torch.no_grad(), skviz.record(model) as recording:
        np.testing.assert_allclose(graph(images)["logits"], model(images), atol=1e-5)
    for name, weights in recording.weights.items():
        np.testing.assert_allclose(graph(images)[f"weights.{name}"], weights, atol=1e-5)
    with torch.no_grad():
        assert float((model(images) - small_net(images)).abs().max()) > 1e-2


def counting() -> Callable[[Tensor], Tensor]:
    calls = []

    def change(x: Tensor) -> Tensor:
        calls.append(1)
        return x * (1 + len(calls) / 10)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x * 2 if float(x.mean()) > 9 else x, "cannot be exported: .*data-dependent"),
        (counting(), "computes something else than the model: logits is off by"),
    ],
    ids=["another path", "another number each time"],
)
def test_what_is_no_graph_is_refused_and_the_file_stays(tmp_path, capfd, change, message):
    path = tmp_path / "kept.onnx"
    path.write_bytes(b"before")
    model = Blocks(change)
    with pytest.raises(ModelError, match=message):
        skviz.to_onnx(model, path, torch.rand(2, 3, 16, 16))
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"before"]
    assert all(module.training for module in model.modules())
    assert capfd.readouterr() == ("", "")


def test_other_refusals(small_net, tmp_path, monkeypatch):
    path, images = tmp_path / "x.onnx", torch.rand(2, 3, 16, 16)
    with pytest.raises(UnitError, match="no Selective-Kernel unit"):
        skviz.to_onnx(nn.Conv2d(3, 4, 3), path, images)
    with pytest.raises(UnitError, match="no unit is called"):
        skviz.to_onnx(small_net, path, torch.rand(2, 3, 32, 32), units=["stage9"])
    many = skviz.wrap(Blocks().eval(), forward=lambda model, x: {"logits": model(x)}, canvas=16)
    with pytest.raises(ModelError, match=r"gives one tensor, but the model gives dict; .*forward="):
        skviz.to_onnx(many, path)
    monkeypatch.setattr(exported, "find_spec", lambda name: name != "onnxscript")
    with pytest.raises(ModelError, match=r'onnxscript is missing; pip install "skviz\[live\]"'):
        skviz.to_onnx(small_net, path)
    assert not list(tmp_path.iterdir())


def test_a_study_may_run_on_the_graph(small_net, few, tmp_path):
    scenes, path = skviz.place(few, canvas=32), tmp_path / "s.zarr"
    asked = {"scales": [0.5, 1.0, 1.5], "progress": False}
    plain = skviz.sweep(small_net, scenes, **asked)
    found = skviz.sweep(small_net, scenes, engine="onnx", device="cpu", **asked)
    assert found.attrs["engine"] == "onnx"
    for name in ("weight", "spread", "channel_weight", "probability"):
        np.testing.assert_allclose(found[name], plain[name], atol=1e-5)
        assert float(plain[name].std()) > 1e-4
    np.testing.assert_array_equal(found["prediction"], plain["prediction"])
    skviz.sweep(small_net, scenes, engine="onnx", device="cpu", store=path, **asked)
    with pytest.raises(DataError, match="another study"):  # no store holds some of both
        skviz.sweep(small_net, scenes, store=path, **asked)
    for wrong, message in (
        ({"engine": "jax"}, "engine must be 'torch' or 'onnx'; got 'jax'"),
        ({"engine": "onnx", "computed on meta": "meta"}, "device"),
    ):
        with pytest.raises(SkvizError, match=message):
            skviz.sweep(small_net, scenes, **asked | wrong)


def test_a_graph_is_made_anew_for_other_units_and_weights_that_changed(small_net, few):
    """What is remembered of a model must not be what it was before."""
    model = copy.deepcopy(small_net)
    scenes = skviz.place(few[:2], canvas=32)
    asked = {"scales": [1.0], "progress": False, "device": "cpu"}
    some = skviz.sweep(model, scenes, engine="onnx", units="stage2.0.sk", **asked)
    first = skviz.sweep(model, scenes, engine="onnx", **asked)
    np.testing.assert_allclose(some["weight"][..., 0, :], first["weight"][..., 1, :], atol=1e-6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.3)
    again = skviz.sweep(model, scenes, engine="onnx", **asked)
    np.testing.assert_allclose(
        again["weight"], skviz.sweep(model, scenes, **asked)["weight"], atol=1e-5
    )
    assert float(abs(again["weight"] - first["weight"]).max()) > 1e-3


def test_a_graph_does_not_hide_what_is_around_it(small_net, few, tmp_path):
    scenes = skviz.place(few[:2], canvas=32)
    asked = {"scales": [1.0], "progress": False, "device": "cpu", "engine": "onnx"}
    plain = skviz.sweep(small_net, scenes, **asked)
    change = {"stage1.0.sk": skviz.force(branch=0)}
    with (
        skviz.intervene(small_net, change),
        pytest.raises(ModelError, match="a graph does not see"),
    ):
        skviz.sweep(small_net, scenes, **asked)
    with (
        skviz.intervene(small_net, change),
        pytest.raises(ModelError, match="a graph does not see"),
    ):
        skviz.to_onnx(small_net, tmp_path / "x.onnx")
    after = skviz.sweep(small_net, scenes, **asked)
    np.testing.assert_array_equal(after["weight"], plain["weight"])


def test_a_graph_is_made_anew_for_a_model_that_does_something_else_with_the_same_weights(few):
    """A hook of the user's own, say: parameters are the same, and the hash of them."""
    model, scenes = Blocks().eval(), skviz.place(few[:2], canvas=16)
    asked = {"scales": [1.0], "progress": False, "device": "cpu"}
    first = skviz.sweep(model, scenes, engine="onnx", **asked)
    handle = model.first.register_forward_hook(lambda _, __, out: out * 3)
    again = skviz.sweep(model, scenes, engine="onnx", **asked)
    eager = skviz.sweep(model, scenes, **asked)
    handle.remove()
    np.testing.assert_allclose(again["weight"], eager["weight"], atol=1e-5)
    assert float(abs(again["weight"] - first["weight"]).max()) > 1e-3
