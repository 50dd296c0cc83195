"""Whole sets of figures from one TOML file.

A file says where, for which page, from which studies, and which figures::

    out = "figures"
    formats = ["pdf", "png"]
    venue = "cvpr"
    name = "SKNet"             # what captions call the network
    labels."stage1.0.sk" = "1a"  # what figures call a unit

    [study.objects]            # anything that makes data: sweep (if nothing is said), effect,
    run = "sweep"              # attribute, faithfulness, controls, receptive_field; or images, for
                               # unit_diagram; or unit, by its name, for impulse_response
    model = "objects"
    family = ["fxemoji"]       # which cut-outs; also category, and first = 16 for the first ones
    seed = 0                   # of the backgrounds
    scales = [0.5, 1, 2]       # this and any other key is an option of the study

    [study.mine]
    store = "mine.zarr"        # a sweep that was kept

    [[figure]]
    plot = "scale_response"    # a function of skviz.plot
    study = "objects"
    name = "response"          # of the file; if nothing is said, the plot's
    width = "column"           # also venue, dpi, anonymous and dataset, as skviz.save_figure has
    example = 2                # this and any other key is an option of the plot

    [[figure]]
    plot = "panel"
    of = ["response", "map"]   # other figures, by name
"""

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from matplotlib.figure import Figure

import skviz
from skviz import plot, stats
from skviz.attribution import target as targets
from skviz.errors import Count, DataError, Seed, SkvizError, entrance
from skviz.figures.rebuilding import SAID, Study
from skviz.figures.record import read
from skviz.figures.saving import save_figure, sized
from skviz.models import zoo
from skviz.scenes import cutouts
from skviz.scenes.cutouts import place
from skviz.studies import store
from skviz.studies.setting import canvas_of

SAVING = ("venue", "width", "dpi", "anonymous", "dataset")
Formats = Sequence[Literal["pdf", "png", "svg", "eps", "pgf"]]
NAME = re.compile(r"[^/\\\0#$%&{}~^\"]{1,200}")  # of a file, in LaTeX too


@entrance
def whole(
    *,
    figure: Sequence[Mapping[str, Any]],
    study: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    out: str = "figures",
    formats: Formats = ("pdf",),
    venue: str | None = None,
    labels: Mapping[str, str] = MappingProxyType({}),
    name: str | None = None,
) -> dict[str, Any]:
    """Say what a file holds."""
    return locals()


@entrance
def of_figure(
    *,
    plot: str,
    name: str | None = None,
    study: str | None = None,
    of: Sequence[str] = (),
    venue: str | None = None,
    width: str | float | None = None,
    dpi: float = 300,
    anonymous: bool = False,
    dataset: bool = False,
    **options: Any,
) -> None:
    """Say what a figure holds."""


@entrance
def of_study(
    *,
    run: Literal[Study, "images", "unit"] = "sweep",
    model: str = "objects",
    store: str | None = None,
    unit: str | None = None,
    category: Iterable[str] | None = None,
    family: Iterable[str] | None = None,
    first: Count | None = None,
    seed: Seed = 0,
    scale: float = 1.0,
    target: Any = None,
    **options: Any,
) -> None:
    """Say what a study holds."""


def line(text: str, header: str, number: int = 0) -> int:
    """Return the line of the header of a table, the one of that number; 1 if there is none."""
    found = [n for n, one in enumerate(text.splitlines(), 1) if one.split("#")[0].strip() == header]
    return found[number] if number < len(found) else 1


class FigureSet:
    """The studies and figures of a file, each made when it is needed.

    Parameters
    ----------
    path
        The TOML file.
    model
        Take this network wherever the file says ``"objects"``.
    device
        Of all studies.

    Raises
    ------
    SkvizError
        If the file cannot be read or is not such a file.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, model: str = "objects", device: str = "auto"
    ) -> None:
        try:
            text = Path(path).read_text(encoding="utf-8")
            settings = tomllib.loads(text)
        except (OSError, ValueError, RecursionError) as error:
            raise SkvizError(f"{path} is not a TOML file that can be read: {error}") from error
        self.model, self.device = model, device
        self.studies: dict[str, Any] = {}
        self.figures: dict[str, Figure] = {}
        self.drawing: list[str] = []
        self.entries: dict[str, dict[str, Any]] = {}
        at = 1
        try:
            self.settings = whole(**settings)
            for name, study in self.settings["study"].items():
                at = line(text, f"[study.{name}]")
                of_study(**study)
            for number, entry in enumerate(self.settings["figure"]):
                at = line(text, "[[figure]]", number)
                of_figure(**entry)
                name = entry.get("name", entry["plot"])
                mine = NAME.fullmatch(name) and name.strip(". ") and name.isprintable()
                if not mine or name in self.entries or entry["plot"] not in plot.__all__:
                    raise SkvizError(
                        f"figure {name!r} needs a file's name of its own and a plot of "
                        f"{plot.__all__}"
                    )
                self.entries[name] = {key: entry[key] for key in entry if key != "name"}
        except SkvizError as error:
            raise SkvizError(f"{path}, line {at}: {error}") from error

    def write(
        self, out: str | os.PathLike[str] | None = None, *, only: Iterable[str] | None = None
    ) -> Iterator[tuple[Any, Path]]:
        """Draw and save every figure, or only some; yield each with the path of its first format.

        Raises
        ------
        SkvizError
            If one of them is not in the file, or cannot be drawn or written.
        """
        folder, formats = Path(out or self.settings["out"]), self.settings["formats"]
        for name in only or self.entries:
            made = self.figure(name)
            saving = {k: v for k, v in self.entries[name].items() if k in SAVING}
            venue = saving.pop("venue", self.settings["venue"])
            for each in formats:
                ours(folder / f"{name}.{each}")
            made = sized(made, venue, saving.pop("width", None))
            paths = [save_figure(made, folder / f"{name}.{each}", **saving) for each in formats]
            yield made, paths[0]

    def figure(self, name: str) -> Any:
        """Draw one figure of the file, from its study or as a panel of others, once."""
        if name not in self.entries:
            raise SkvizError(f"no figure {name!r}; the file has {list(self.entries)}")
        if name in self.drawing:
            raise SkvizError(f"figure {name!r} is a panel of itself: {' of '.join(self.drawing)}")
        if name not in self.figures:
            self.drawing.append(name)
            options = {k: v for k, v in self.entries[name].items() if k not in SAVING}
            kind, study = options.pop("plot"), options.pop("study", None)
            if kind == "panel":
                given: tuple[Any, ...] = ([self.figure(each) for each in options.pop("of", ())],)
            else:
                found = self.study(study)
                given = found if isinstance(found, tuple) else (found,)
            try:
                with plot.style.context(labels=self.settings["labels"], name=self.settings["name"]):
                    self.figures[name] = getattr(plot, kind)(*given, **options)
            except (TypeError, SkvizError) as error:
                raise SkvizError(f"figure {name!r} cannot be drawn: {error}") from error
            self.drawing.pop()
        return self.figures[name]

    def study(self, name: str) -> Any:
        """Return a study's data, made at the first call: whatever its plots take."""
        known = self.settings["study"]
        if name not in known:
            raise SkvizError(f"no study {name!r}; the file has {sorted(known)}")
        if name not in self.studies:
            self.studies[name] = self.make(name, dict(known[name]))
        return self.studies[name]

    def make(self, name: str, options: dict[str, Any]) -> Any:
        """Run one study."""
        if "store" in options:
            return store.load(options["store"])
        run = options.pop("run", "sweep")
        asked = options.pop("model", "objects")
        model: Any = zoo.load(self.model if asked == "objects" else asked)
        if run == "unit":
            try:
                return model.get_submodule(options.pop("unit", ""))
            except AttributeError as error:
                raise SkvizError(f"study {name!r}: {error}; see skviz units") from error
        chosen = {key: options.pop(key) for key in ("category", "family") if key in options}
        cut_outs = cutouts.objects(**chosen)
        cut_outs = cut_outs[: options.pop("first", len(cut_outs))]
        scenes = place(cut_outs, canvas=canvas_of(model), seed=options.pop("seed", 0))
        if run == "images":
            return model, scenes.render(options.pop("scale", 1.0))
        if "target" in options:
            asked = options["target"]
            options["target"] = [
                targets.branch(**each) if isinstance(each, dict) else each
                for each in (asked if isinstance(asked, list) else [asked])
            ]
        try:
            made = getattr(skviz, run)(model, scenes, device=self.device, **options)
        except (TypeError, SkvizError) as error:
            raise SkvizError(f"study {name!r} cannot be run: {error}") from error
        return getattr(stats, SAID[run])(made) if run in SAID else made


def ours(path: Path) -> None:
    """Raise `SkvizError` if something is there that skviz did not write."""
    if path.exists() or path.is_symlink():
        try:
            read(path)
        except DataError as error:
            raise SkvizError(
                f"{path} is there and is no figure of skviz; move it away, or give another folder"
            ) from error
