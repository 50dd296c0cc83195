"""``reproduce``: a figure's file says how it was made; make it again, and compare the numbers."""

from __future__ import annotations

import inspect
import io
import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from operator import attrgetter
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import skviz
from skviz import plot, stats
from skviz.errors import DataError, entrance
from skviz.figures.provenance import numbers, unpacked
from skviz.figures.record import read
from skviz.models import zoo
from skviz.scenes.cutouts import objects, place
from skviz.scenes.photographs import Photographs, photographs

CLOSE = 1e-5  # of numbers that are measured again: float32, written with six digits
# Studies that can be run again; a figure's record says what they were told, by its name.
Study = Literal["sweep", "effect", "attribute", "faithfulness", "controls", "receptive_field",
                "factorial", "readings"]  # fmt: skip
STUDIES: tuple[str, ...] = get_args(Study)
HERE = {"device", "progress", "store", "on_error", "client"}  # not told by it
# What of `skviz.stats` is said of a study before it is drawn, as plots take that and not the study.
SAID = {"factorial": "main_effects", "readings": "explained"}
# What studies were told that is no plain value, and is made by calling one of these.
CALLS = {
    f"skviz.{name}": name
    for name in ("force", "ablate", "swap", *(f"target.{n}" for n in skviz.target.__all__))
}
METHODS = ("where", "cut_out", "zoom", "moved", "against", "changed")


@entrance
def reproduce(
    path: str | os.PathLike[str],
    *,
    model: nn.Module | Mapping[str, nn.Module] | None = None,
    images: Any = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Make a figure again from what its file says, and compare the numbers that it shows.

    Parameters
    ----------
    path
        A file of `skviz.save_figure`, not an anonymous one.
    model
        The network, where it is none that ships; it is compared by its hash. Several by name, where
        the figure shows several.
    images
        The pictures, where they are one's own: what `skviz.photographs` took, or the tensor of
        images; compared by hash.
    device
        Of the study.

    Returns
    -------
    dict
        ``same`` (within 1e-5, as a share of 1 or of the largest number of a column if that is
        more), ``difference`` (the largest) and ``where`` it is, ``count`` of numbers, ``then`` and
        ``now`` (versions of skviz and torch), ``figure`` (the new one).

    Raises
    ------
    DataError
        If it cannot be made again, with what is missing.

    Examples
    --------
    >>> import skviz, tempfile, pathlib
    >>> scenes = skviz.place(skviz.objects(category="bus"), seed=1)
    >>> ds = skviz.sweep(skviz.load("objects"), scenes, scales=[0.5, 2.0], progress=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "scale.pdf")
    ...     _ = skviz.save_figure(skviz.plot.scale_response(ds), path)
    ...     skviz.reproduce(path)["same"]
    True
    """
    known = read(path)
    if "numbers" not in known:
        raise DataError(
            f"{path} does not say enough to be made again: it is anonymous, was not drawn by "
            "skviz.plot, or by an earlier skviz"
        )
    made = _Again(model, images, device).figure(known)
    then, now = unpacked(known["numbers"]), unpacked(numbers(made))
    if set(then) != set(now):
        raise DataError(f"{path} shows the tables {sorted(then)}, made again {sorted(now)}")
    each = [_difference(then[name], now[name], name) for name in then]
    difference, where, _ = max(each, default=(0.0, "", 0))
    first = next(iter(known.get("parts", [])), known)
    return {
        "same": difference <= CLOSE, "difference": difference, "where": where,
        "count": sum(count for _, _, count in each),
        "then": {key: first.get(key) for key in ("skviz", "torch")},
        "now": {"skviz": version("skviz"), "torch": str(torch.__version__)}, "figure": made,
    }  # fmt: skip


class _Again:
    """Makes figures and studies, each study once."""

    def __init__(self, model: Any, images: Any, device: str) -> None:
        self.model, self.images, self.device = model, images, device
        self.studies: dict[str, Any] = {}

    def figure(self, known: dict[str, Any]) -> Figure:
        name, options = known.get("figure"), known.get("parameters", {})
        if name not in plot.__all__:
            raise DataError(f"there is no skviz.plot.{name} to draw it with")
        if "parts" in known:
            given: Any = ([self.figure(part) for part in known["parts"]],)
        elif name == "unit_diagram":
            given = self.network(known), self.scenes(known["made"])
        else:
            given = (self.said(known, self.study(known)),)
        with plot.style.context(labels=known.get("labels"), name=known.get("name")):
            drawn: Figure = getattr(plot, name)(*given, **options)
        if name == "unit_diagram":
            self.compare(known, next(iter(drawn.tables.values())))  # type: ignore[attr-defined]
        return drawn

    def compare(self, known: dict[str, Any], ds: Any) -> None:
        """Raise `DataError` if data come from other images than those of the figure."""
        if ds.attrs["images_sha256"] != known["images_sha256"]:
            raise DataError("the images are others than those of the figure (by their sha256)")

    def said(self, known: dict[str, Any], ds: Any) -> Any:
        """Say again of a study what statistics said of it, if the figure shows that."""
        if "statistic" not in known:
            return ds
        options = {name: self.value(said) for name, said in known["statistic"].items()}
        function = options.pop("function")
        if function not in SAID.values():
            raise DataError(f"its numbers are of {function!r}, not of {', '.join(SAID.values())}")
        return getattr(stats, function)(ds, **options)

    def study(self, known: dict[str, Any]) -> Any:
        kind = known.get("study")
        if kind not in STUDIES:
            raise DataError(f"its data are of {kind or 'no study'!r}, not of {', '.join(STUDIES)}")
        if "changed" in known:
            raise DataError(
                f"the weights of {known['changed']} were changed around it: kept nowhere"
            )
        function = getattr(skviz, kind)
        told = [name for name in [*inspect.signature(function).parameters][2:] if name not in HERE]
        told = [name for name in told if known.get(name) is not None]
        key = json.dumps([kind, *(known.get(name) for name in ("model_sha256", "made", *told))])
        if key not in self.studies:
            model, scenes = self.network(known), self.scenes(known["made"])
            options = {name: self.value(known[name]) for name in told}
            if kind == "effect":
                options["interventions"] = dict(options["interventions"])
            if "options" in options:
                options |= json.loads(options.pop("options"))
            ds = function(model, scenes, device=self.device, **options)
            self.compare(known, ds)
            self.studies[key] = ds
        return self.studies[key]

    def value(self, said: Any) -> Any:
        """Return what a study was told, from what its file says of that."""
        if isinstance(said, list):
            return [self.value(each) for each in said]
        if not isinstance(said, dict):
            if isinstance(said, str) and said.startswith(("function ", "tensor ", "given")):
                raise DataError(f"it was told a {said} of one's own, which is kept nowhere")
            return said
        if "function" not in said:
            return {name: self.value(each) for name, each in said.items()}
        if said["function"] not in CALLS:
            raise DataError(f"it was told {said['function']!r}, which is kept nowhere")
        found = attrgetter(CALLS[said["function"]])(skviz)
        return found(**{name: each for name, each in said.items() if name != "function"})

    def network(self, known: dict[str, Any]) -> Any:
        if "networks" not in known:
            if isinstance(self.model, Mapping):
                raise DataError("it shows one network, not several by name; give model=")
            return one_network(known["model"], known["model_sha256"], self.model)
        names = known["networks"]
        given = self.model if isinstance(self.model, Mapping) else dict.fromkeys(names, self.model)
        said = (known[key] for key in ("model", "model_sha256"))
        each = zip(names, *(one if isinstance(one, list) else [one] for one in said), strict=True)
        return {called: one_network(name, sha, given.get(called)) for called, name, sha in each}

    def scenes(self, made: Sequence[dict[str, Any]]) -> Any:
        """Do again what `skviz.scenes.made` lists; nothing else that a file may name."""
        shown: Any = None
        for call in made:
            options = {name: value for name, value in call.items() if name != "function"}
            function = call["function"]
            given = next((name for name, v in options.items() if isinstance(v, dict)), None)
            if given:
                raise DataError(f"its scenes were made with {given} of one's own, kept nowhere")
            match function:
                case "skviz.objects":
                    shown = objects()
                case "skviz.place":
                    shown = place(shown, **options)
                case "images" if isinstance(self.images, Tensor):
                    shown = self.images
                case "skviz.photographs":
                    shown = self.pictures(options)
                case "[]":
                    which = options.get("places")
                    shown = shown[slice(*options["slice"]) if which is None else which]
                case _ if function in METHODS:
                    shown = getattr(shown, function)(**options)
                case _:
                    raise DataError(f"its images come from {function!r}, which is kept nowhere")
        return shown

    def pictures(self, options: dict[str, Any]) -> Photographs:
        if self.images is None and options:
            raise DataError(f"its pictures are one's own ({options.get('source')}); give images=")
        given = photographs() if self.images is None else self.images
        return given if isinstance(given, Photographs) else photographs(given)


def one_network(name: str, sha256: str, model: nn.Module | None) -> nn.Module:
    """Return the network, or the one that ships under its name, if it is that of the figure."""
    if model is None and name not in zoo.names():
        raise DataError(f"its network, {name!r}, is none that ships; give model=")
    model = zoo.load(name) if model is None else model
    if zoo.weights_hash(model) != sha256:
        raise DataError(f"{name!r} is another network than the figure's (by its sha256)")
    return model


def _difference(then: str, now: str, name: str) -> tuple[float, str, int]:
    """Return the largest difference of two tables, where it is, and how many numbers there are."""
    old, new = (pd.read_csv(io.StringIO(text)) for text in (then, now))
    place = f"table {name}" if name else "the table"
    if list(old.columns) != list(new.columns) or len(old) != len(new):
        return np.inf, f"{place}: {len(old)} rows, made again {len(new)}", 0
    worst, count = (0.0, ""), 0
    for column in old:
        one, other = old[column], new[column]
        if not pd.api.types.is_numeric_dtype(one):
            if not one.equals(other):
                return np.inf, f"{place}, column {column}", 0
            continue
        size = max(1.0, float(one.abs().max()))
        apart = (one - other).abs().to_numpy(float) / size
        apart[(one.isna() & other.isna()).to_numpy()] = 0
        apart[np.isnan(apart)] = np.inf  # a number on one side only
        count += len(apart)
        if len(apart) and apart.max() > worst[0]:
            worst = float(apart.max()), f"{place}, column {column}, row {int(apart.argmax())}"
    return *worst, count
