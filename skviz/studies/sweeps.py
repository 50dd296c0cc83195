"""``sweep``: show a model the same scenes over a grid of scales and keep what its units did.

The result is one `xarray.Dataset`:

===================  ==============================  =====================================
``weight``           image, scale, unit, branch      branch weight, mean over channels
``spread``           image, scale, unit, branch      its standard deviation over channels
``channel_weight``   image, scale, branch, channel   branch weight of every channel
``prediction``       image, scale                    index of the predicted class, as a float, of a
                                                     model that gives logits
``probability``      image, scale                    its softmax probability
``correct``          image, scale                    1 if it is the category, 0 if not, where
                                                     both are known
``thumbnail``        example, scale, y, x, rgb       the first scenes as they were shown, uint8;
                                                     white where ``problem`` says one was skipped
``kernel``           unit, branch                    effective kernel (NaN: no such branch)
``axes``             unit                            along how many axes kernels run, where that is
                                                     not two in all units
``category``         image                           what the object is
``unit_of``          channel                         whose channel it is
``index``            channel                         which of that unit's
``precision_error``  unit                            what ``precision`` changed a channel's weight
                                                     by, at most, where it is not float32
===================  ==============================  =====================================

and what every study has (`skviz.studies.study`). ``skviz.stats.channels`` picks the channels of one
unit.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from skviz.capture import Unit
from skviz.capture.recording import record, spatial_mean
from skviz.errors import Count, SkvizError, entrance
from skviz.models import device as devices
from skviz.studies.exported import answer
from skviz.studies.keeping import EXAMPLES, Variable
from skviz.studies.options import Client, Options
from skviz.studies.setting import answers, are_logits, at_rest, judge, labels
from skviz.studies.study import Batch, Study, run

EACH = "image scale"
WHITE = 255  # where there is no picture


@dataclass(frozen=True)
class Weights:
    """The weights of units, and what the model answers.

    Attributes
    ----------
    channels
        Keep the weight of every channel.
    coverage
        Keep how much of each picture is object.
    pictures
        Keep the first scenes as they were shown.
    engine
        What runs the model: ``"torch"``, or ``"onnx"``, see `skviz.studies.exported.answer`.
    precision
        Of what it computes with: ``"float32"``, or ``"bfloat16"``.
    """

    channels: bool = True
    coverage: bool = False
    pictures: bool = True
    engine: str = "torch"
    precision: str = "float32"
    name: ClassVar[str] = "sweep"
    in_turn: ClassVar[bool] = False
    needs_units: ClassVar[bool] = True
    shown: ClassVar[int | None] = EXAMPLES  # of a batch, as pictures
    always: ClassVar[bool] = False  # have places for answers, though there may be none

    @property
    def options(self) -> dict[str, Any]:
        """What decides what is kept, and what computes it."""
        usual = {"engine": "torch", "precision": "float32"}
        other = {name: getattr(self, name) for name in usual if getattr(self, name) != usual[name]}
        return {"channels": self.channels} | other

    def pictured(self, study: Study) -> bool:
        """Whether pictures are kept; a unit by itself is shown feature maps, which are none."""
        return self.pictures and study.few.shape[1] in (1, 3)

    def variables(self, study: Study) -> dict[str, Variable]:
        """Say what is kept."""
        count, most = kernels_of(study.units).shape
        branches, size = ("unit", "branch"), (count, most)
        numbers = answers(study.truth) if self.always or gives_logits(study) else {}
        if self.coverage:
            numbers["coverage"] = ("share of the picture that is object", "1")
        made = {
            "weight": Variable(EACH, branches, size, "f4", "branch weight, mean of channels", "1"),
            "spread": Variable(EACH, branches, size, "f4", "its standard deviation", "1"),
            **{name: Variable(EACH, (), (), "f4", *said) for name, said in numbers.items()},
        }
        if self.pictured(study):
            dims, shape = ("y", "x", "rgb"), (study.scenes.canvas, study.scenes.canvas, 3)
            said = "the scene as it was shown"
            made["thumbnail"] = Variable("example scale", dims, shape, "u1", said, "", WHITE)
        if self.channels:
            of_all = (most, len(owners(study.units)))
            said = "branch weight of every channel"
            made["channel_weight"] = Variable(EACH, ("branch", "channel"), of_all, "f4", said, "1")
        return made

    def coords(self, study: Study) -> dict[str, Any]:
        """Say whose channels there are, and which scenes are kept as pictures."""
        said = {"long_name": "effective kernel", "units": "pixels of the feature map"}
        made: dict[str, Any] = {
            "unit": ("unit", list(labels(study.units)), {"long_name": "unit"}),
            "kernel": (("unit", "branch"), kernels_of(study.units), said),
        }
        axes = [unit.axes for unit in study.units for _ in range(unit.calls)]
        if set(axes) != {2}:
            made["axes"] = ("unit", axes, {"long_name": "axes of the kernels", "units": "1"})
        if self.pictured(study):
            few = min(EXAMPLES, study.chunk, len(study.scenes))
            made["example"] = ("example", list(study.scenes.ids[:few]), {"long_name": "image"})
        if self.channels:
            names, numbers = zip(*owners(study.units), strict=True)
            made["unit_of"] = ("channel", list(names), {"long_name": "unit"})
            made["index"] = ("channel", list(numbers), {"long_name": "channel"})
        if self.precision != "float32":
            said = {"long_name": "largest change of a weight by the precision", "units": "1"}
            made["precision_error"] = ("unit", self.errors(study), said)
        return made

    def errors(self, study: Study) -> np.ndarray:
        """By how much the precision changes a weight of each unit, at most, in a few images."""
        with at_rest(study.model, study.where):
            rough, exact = (
                each.ran(study.model, study.units, study.few)[1]
                for each in (self, replace(self, precision="float32"))
            )
        pairs = zip(rough, exact, strict=True)
        return np.array([float((one.float() - other).abs().max()) for one, other in pairs])

    def __call__(self, model: nn.Module, batch: Batch) -> dict[str, np.ndarray]:
        """Run the model on a batch."""
        logits, weights = self.run(model, batch)
        row = self.of_units(weights) | self.of_answers(logits, batch)
        if self.coverage:
            row["coverage"] = share(batch)
        if self.pictured(batch.study):
            shown = batch.images[: self.shown].clamp(0, 1)
            row["thumbnail"] = (shown * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        return row

    def run(self, model: nn.Module, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Return the model's answer, and the weights of every call, (image, branch, channel)."""
        if self.engine == "onnx":
            logits, weights = answer(batch.study, batch.images)
            return logits, [spatial_mean(each) for each in weights]
        return self.ran(model, batch.units, batch.images)

    def ran(
        self, model: nn.Module, units: Sequence[Unit], images: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Do that with PyTorch."""
        computing: Any = nullcontext()
        if self.precision == "bfloat16":  # which convolutions like best channel after channel
            images = images.contiguous(memory_format=torch.channels_last)
            computing = torch.autocast(images.device.type, torch.bfloat16)
        recorder = record(model, units, reduce=spatial_mean)
        with torch.inference_mode(), computing, recorder as recording:
            logits = model(images)
        return logits, list(recording.weights.values())

    def of_answers(self, logits: Tensor, batch: Batch) -> dict[str, np.ndarray]:
        """Say what the model answers, if it gives logits."""
        return judge(logits, batch.truth) if are_logits(logits) else {}

    def of_units(self, weights: Sequence[Tensor]) -> dict[str, np.ndarray]:
        """Bring the weights of every call of every unit, (image, branch, channel), together."""
        each = [weight.float().cpu().numpy() for weight in weights]
        most = max(weight.shape[1] for weight in each)
        padded = [
            np.pad(w, ((0, 0), (0, most - w.shape[1]), (0, 0)), constant_values=np.nan)
            for w in each
        ]
        row = {
            "weight": np.stack([w.mean(-1, dtype=np.float64) for w in padded], 1),
            "spread": np.stack([w.std(-1, dtype=np.float64) for w in padded], 1),
        }
        return row | ({"channel_weight": np.concatenate(padded, 2)} if self.channels else {})


def gives_logits(study: Study) -> bool:
    """Whether the model is a classifier."""
    with at_rest(study.model, study.where), torch.inference_mode():
        return are_logits(study.model(study.few[:1]))


def kernels_of(units: Sequence[Unit]) -> np.ndarray:
    """Return the kernel of each branch of each call of a unit; NaN where there is no branch."""
    sizes = list(labels(units).values())
    most = max(map(len, sizes))
    return np.array([[*each, *[np.nan] * (most - len(each))] for each in sizes], np.float64)


def owners(units: Sequence[Unit]) -> list[tuple[str, int]]:
    """Name the unit's call and the number of every channel, in the order they are kept."""
    counts = [unit.channels or 1 for unit in units for _ in range(unit.calls)]
    return [
        (name, index)
        for name, count in zip(labels(units), counts, strict=True)
        for index in range(count)
    ]


def share(batch: Batch) -> np.ndarray:
    """How much of each picture is object, (image,); NaN if that is not known."""
    mask = batch.ready.mask(batch.scale)
    if mask is None:
        return np.full(len(batch.images), np.nan)
    return mask.mean((1, 2)).cpu().numpy()


@entrance
def sweep(
    model: nn.Module,
    scenes: Any,
    *,
    scales: Sequence[float] | None = None,
    units: str | Unit | Iterable[str | Unit] | None = None,
    batch: Count | None = None,
    device: str = "auto",
    progress: bool = True,
    store: str | os.PathLike[str] | None = None,
    chunk: Count = 128,
    channels: bool | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    client: Client | None = None,
    engine: Literal["torch", "onnx"] = "torch",
    precision: Literal["float32", "bfloat16"] = "float32",
) -> xr.Dataset:
    """Record the branch weights of a model for every scene at every scale.

    Parameters
    ----------
    model
        Any model with SK units, a classifier or not; it comes back as it was, on its device.
    scenes
        Scenes (`skviz.place`, `skviz.photographs`); cut-outs, which are placed on procedural
        backgrounds of the model's canvas (96 pixels if it names none); whatever
        `skviz.photographs` takes, cut out where there are masks and else zoomed; or images
        (N, 3, H, W) as the model takes them, which have the scale 1 only.
    scales
        Increasing; ``1.0`` is the reference. By default 0.5 to 2, of photographs that are zoomed
        from 1.
    units
        Names as `skviz.find_units` gives them, units, or one of them; by default all that are not
        degenerate.
    channels
        Keep the weight of every channel; by default in memory, and not in a store.
    batch, device, progress, store, chunk, on_error, client
        See `skviz.studies.study.Options`.
    engine
        What runs the model. ``"onnx"`` exports it (half a minute, `skviz.to_onnx`) and runs it by
        onnxruntime on the CPU, faster than PyTorch does; weights are the same to 1e-5, which is
        tried at first.
    precision
        ``"bfloat16"`` has PyTorch's autocast compute in it where that is thought safe: a study is
        1.1 to 1.6 times as fast on a CPU that has it. What it changes a weight of each unit by, at
        most, in a few of the scenes is the coordinate ``precision_error``; smaller differences
        mean nothing.

    Returns
    -------
    xarray.Dataset
        As the module's documentation lists it; where it comes from in ``attrs``. From a store,
        read when it is used.

    Raises
    ------
    SkvizError
        If the scales are not increasing, or a scale cannot be rendered (`SceneError`), an image
        cannot be read (`DataError`), the store holds another study (`DataError`), or the model has
        no such unit (`UnitError`).

    Examples
    --------
    >>> import skviz
    >>> scenes = skviz.place(skviz.objects(category="bus"), seed=1)
    >>> ds = skviz.sweep(skviz.load("objects"), scenes, scales=[0.5, 2.0], progress=False)
    >>> ds["weight"].dims
    ('image', 'scale', 'unit', 'branch')
    >>> dict(ds["weight"].sizes)
    {'image': 6, 'scale': 2, 'unit': 6, 'branch': 2}
    """
    if engine == "onnx" and (precision, devices.resolve(device).type) != ("float32", "cpu"):
        raise SkvizError(
            "the engine 'onnx' computes in float32, on the CPU: give device='cpu', or take 'torch'"
        )
    return run(
        model,
        scenes,
        scales,
        Weights(
            store is None if channels is None else channels, engine=engine, precision=precision
        ),
        Options(units, batch, device, progress, store, chunk, on_error, client),
    )
