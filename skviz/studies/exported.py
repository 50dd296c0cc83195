"""``to_onnx``: a model as one graph that gives its answer and the weights of every unit.

The graph needs neither PyTorch nor this package: onnxruntime runs it, in a browser too.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from skviz.capture import Unit, Units, units_of
from skviz.capture.recording import record
from skviz.capture.tape import Made, is_changed
from skviz.capture.watching import Watch, Watching
from skviz.errors import ModelError, entrance
from skviz.models import zoo
from skviz.models.wrapped import Wrapped
from skviz.scenes.source import Scenes
from skviz.studies.setting import as_scenes, at_rest, canvas_of, choose, described
from skviz.studies.study import Study

CLOSE = 1e-5
NEEDED = ("onnx", "onnxscript", "onnxruntime")


@entrance
def to_onnx(
    model: nn.Module,
    path: str | os.PathLike[str],
    scenes: Any = None,
    *,
    units: str | Unit | Iterable[str | Unit] | None = None,
) -> Path:
    """Write a model as an ONNX graph whose outputs are its answer and its units' weights.

    What is written is run by onnxruntime and compared with the model, on the scenes, on noise, and
    with weights put in the place of every unit's.

    Parameters
    ----------
    model
        Any model that `torch.export` accepts, and that gives one tensor.
    path
        Of the file.
    scenes
        What it is tried on, and in what size: what `skviz.sweep` takes. By default noise, as large
        as the model's card says.
    units
        By default all whose weights can be shown.

    Returns
    -------
    Path
        The file. Its graph takes ``images`` (image, 3, H, W), any number of them, and gives
        ``logits`` and for each unit ``weights.NAME`` (image, branch, channel[, y, x]), as
        `skviz.record` has them; of a unit that runs several times ``weights.NAME@0``, …  Where the
        optional input ``switch.NAME``, a bool, is true, the optional ``given.NAME`` takes the
        weights' place: anything that broadcasts to their shape; by default equal weights.
        The file's metadata holds, as JSON under ``skviz``, the units with kernels and branches,
        the categories, the provenance of the network, and the largest error that was found.

    Raises
    ------
    ModelError
        If the model cannot be exported, the graph computes something else, weights are changed by
        `skviz.intervene` around this, or onnx, onnxscript or onnxruntime is missing
        (``pip install "skviz[live]"``).
    UnitError
        If there is no such unit, or none.

    Examples
    --------
    >>> path = skviz.to_onnx(skviz.load("objects"), "objects.onnx")  # doctest: +SKIP
    """
    missing = [name for name in NEEDED if not find_spec(name)]
    if missing:
        raise ModelError(f'{", ".join(missing)} is missing; pip install "skviz[live]"')
    _check_unchanged()
    side = canvas_of(model)
    shown = as_scenes(model, torch.rand(2, 3, side, side) if scenes is None else scenes)
    with at_rest(model, torch.device("cpu")), torch.inference_mode(mode=False), torch.no_grad():
        ready = shown[: min(len(shown), 4)].ready(torch.device("cpu"))
        low, high = ready.bounds
        images = ready.render(min(max(1.0, low), high)).float()
        images = torch.cat([images, torch.rand(2, *images.shape[1:])])
        chosen = choose(units_of(model, images), units)
        return _written(model, Path(path), images, chosen, shown)


# By study; and by model with the units and weights that it had, the graph, and its sessions by
# their number of threads.
_exporting = Lock()
_asked: WeakKeyDictionary[Study, Any] = WeakKeyDictionary()
_known: WeakKeyDictionary[nn.Module, tuple[list[Unit], str, bytes, dict[int, Any]]] = (
    WeakKeyDictionary()
)


def answer(study: Study, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Run a study's model on the CPU as a graph, exported and compared on its first images.

    Parameters
    ----------
    study
        Its graph is kept; another study of the same model uses it if the weights are the same, and
        it gives what the model gives on the first images of that study.
    images
        (image, 3, H, W).

    Returns
    -------
    tuple of Tensor and list
        The model's answer, and the weights of every call of every unit.
    """
    _check_unchanged()
    with _exporting:
        session = _session_of(study, images)
    logits, *weights = session.run(None, {"images": images.float().numpy()})
    return torch.from_numpy(logits), [torch.from_numpy(each) for each in weights]


def _session_of(study: Study, images: Tensor) -> Any:
    if study not in _asked:
        key, threads = (study.units, zoo.weights_hash(study.model)), torch.get_num_threads()
        known = _known.get(study.model)
        file, sessions = known[2:] if known and known[:2] == key else (b"", {})
        if file and threads not in sessions:
            sessions[threads] = _session(file, threads)
        # Weights alone do not say what a model does: it has hooks, and attributes.
        if not file or not _gives_the_same(sessions[threads], study, images[:2]):
            with TemporaryDirectory() as folder:
                path = to_onnx(study.model, Path(folder, "x.onnx"), images, units=study.units)
                file = path.read_bytes()
            sessions = {threads: _session(file, threads)}
            _known[study.model] = (*key, file, sessions)
        _asked[study] = sessions[threads]
    return _asked[study]


def _check_unchanged() -> None:
    if is_changed():
        raise ModelError(
            "weights or activations are changed by a context around this (skviz.intervene), which "
            "a graph does not see; leave it, or take engine='torch'"
        )


def _gives_the_same(session: Any, study: Study, images: Tensor) -> bool:
    """Whether a graph made before gives what the model gives now."""
    with torch.inference_mode(), record(study.model, study.units) as recording:
        expected = [study.model(images), *recording.weights.values()]
    found = session.run(None, {"images": images.float().numpy()})
    return all(
        bool(np.abs(one - other.numpy()).max() <= CLOSE * max(1.0, float(other.abs().max())))
        for one, other in zip(found, expected, strict=True)
    )


def _session(file: bytes, threads: int = 0) -> Any:
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it would advise against optional inputs
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # PyTorch's turn
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _written(
    model: nn.Module, path: Path, images: Tensor, units: list[Unit], scenes: Scenes
) -> Path:
    """Export, compare, and only then put the file in its place."""
    import onnx

    switched = _Switched(model, units)
    names = [name for unit in units for name in unit.call_names]
    with record(model, units) as recording:
        logits = model(images)
    if not isinstance(logits, Tensor):
        raise ModelError(
            f"a graph gives one tensor, but the model gives {type(logits).__name__}; name it with "
            "skviz.wrap(model, forward=lambda model, images: …)"
        )
    weights = [recording.weights[name] for name in names]
    given = [torch.ones(1, w.shape[1], *[1] * (w.dim() - 2)) / w.shape[1] for w in weights]
    off = [torch.tensor([False]) for _ in names]
    many = {0: torch.export.Dim("image", min=1, max=2**16)}
    inputs = [f"{what}.{name}" for what in ("switch", "given") for name in names]
    try:
        with _quiet():
            program = torch.onnx.export(
                switched, (images, off, given), dynamo=True, verbose=False,
                dynamic_shapes=(many, [None] * len(names), [None] * len(names)),
                input_names=["images", *inputs],
                output_names=["logits", *(f"weights.{name}" for name in names)],
            )  # fmt: skip
    except Exception as refusal:
        cause = refusal.__cause__ or refusal
        reason = next((line for line in str(cause).splitlines() if line.strip()), "")
        raise ModelError(
            f"the model cannot be exported: {type(cause).__name__}: {reason.strip()[:300]}"
        ) from refusal
    assert program is not None
    proto = program.model_proto
    for value in proto.graph.input:
        if value.name.startswith("given."):  # what broadcasts is as good
            for axis, dim in enumerate(value.type.tensor_type.shape.dim):
                if axis != 1:
                    dim.dim_param = f"{value.name} {axis}"
    for name, default in zip(inputs, [*off, *given], strict=True):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(default.numpy(), name))
    error = _error(proto.SerializeToString(), switched, images, names, weights)
    told = {
        "units": [
            {"name": unit.name, "kernels": unit.kernels, "branches": unit.branches,
             "weights": unit.call_names}
            for unit in units
        ],
        "categories": getattr(getattr(model, "card", None), "categories", None) or None,
        "canvas": images.shape[-1],
        "provenance": described(model, scenes, [1.0]),
        "error": error,
    }  # fmt: skip
    onnx.helper.set_model_props(proto, {"skviz": json.dumps(told, default=str)})
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(proto.SerializeToString())
    new.replace(path)
    return path


class _Switch(Watch):
    """Takes given weights in the place of a unit's where a switch is on."""

    def __init__(self, unit: Unit, given: list[tuple[Tensor, Tensor]]) -> None:
        super().__init__(unit)
        self.given = given  # switch and weights of each call
        self.used: list[Tensor] = []

    def see(self, tensor: Tensor, made: Made) -> Tensor:  # noqa: ARG002
        switch, given = self.given[self.fired]
        self.fired += 1
        weights = self.layout.normalise(tensor)
        self.used.append(torch.where(switch, given.to(weights), weights))
        return self.layout.restore(self.used[-1], tensor)


class _Switching(Watching):
    """Watches units with a switch each."""

    changes = True

    def __init__(self, model: nn.Module, switches: list[_Switch]) -> None:
        super().__init__(model, [switch.unit for switch in switches])
        self.switches = switches

    def watch(self, units: Units) -> list[Watch]:  # noqa: ARG002
        return [*self.switches]


class _Switched(nn.Module):
    """A model whose weights are outputs, and inputs where one wants them to be."""

    def __init__(self, model: nn.Module, units: list[Unit]) -> None:
        super().__init__()
        self.units = units
        # No child: a wrapper's modules have other names than its attributes.
        self.whole = (model,)
        self.inner = model.inner if isinstance(model, Wrapped) else model
        for name, buffer in model.named_buffers(recurse=False):
            self.register_buffer(name, buffer)

    def forward(
        self, images: Tensor, switch: list[Tensor], given: list[Tensor]
    ) -> tuple[Tensor, ...]:
        pairs = iter(zip(switch, given, strict=True))
        switches = [_Switch(unit, [next(pairs) for _ in unit.call_names]) for unit in self.units]
        (model,) = self.whole
        with _Switching(model, switches):
            logits = model(images)
        return logits, *(weights for one in switches for weights in one.used)


def _error(
    file: bytes, model: nn.Module, images: Tensor, names: list[str], like: list[Tensor]
) -> float:
    """Compare the graph with the model; return the largest difference, or raise `ModelError`.

    Weights are compared as they are, logits as a share of the largest.
    """
    session = _session(file)
    drawn = [torch.rand(w.shape, generator=torch.Generator().manual_seed(0)) for w in like]
    drawn = [weights / weights.sum(1, keepdim=True) for weights in drawn]
    largest = 0.0
    for shown, on in ((images, False), (images[:1], False), (images, True)):
        count = len(shown)
        switch, given = [torch.tensor([on])] * len(names), [w[:count] for w in drawn]
        feed = {"images": shown}
        if on:
            feed |= {f"switch.{name}": one for name, one in zip(names, switch, strict=True)}
            feed |= {f"given.{name}": one for name, one in zip(names, given, strict=True)}
        found = session.run(None, {name: value.numpy() for name, value in feed.items()})
        expected = model(shown, switch, given)
        for name, one, other in zip(("logits", *names), found, expected, strict=True):
            size = float(other.abs().max()) if name == "logits" else 1.0
            difference = float((torch.from_numpy(one) - other).abs().max()) / max(size, 1e-30)
            if not difference <= CLOSE:
                raise ModelError(
                    f"the graph computes something else than the model: {name} is off by "
                    f"{difference:.2g}, at most {CLOSE:.0e} is allowed"
                )
            largest = max(largest, difference)
    return largest


@contextmanager
def _quiet() -> Iterator[None]:
    """Let the exporter keep its notes to itself."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            redirect_stdout(StringIO()),
            redirect_stderr(StringIO()),
            warnings.catch_warnings(action="ignore"),
        ):
            yield
    finally:
        logging.disable(before)
