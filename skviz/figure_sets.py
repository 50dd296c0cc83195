"""Whole sets of figures from one TOML file.

A file says where, for which page, from which studies, and which figures::

    out = "figures"
    formats = ["pdf", "png"]
    venue = "cvpr"

    [study.objects]            # anything that makes data: sweep (if nothing is said), effect,
    run = "sweep"              # attribute, controls, receptive_field; or images, for unit_diagram
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
    of = ["response", "map"]   # figures above, by name
"""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import skviz
from skviz import data, plot, store, zoo
from skviz.attribution import branch_weight
from skviz.errors import SkvizError
from skviz.export import save_figure, sized
from skviz.plot.style import InlineFigure
from skviz.scenes import place

__all__ = ["FigureSet"]

RUNS = ("sweep", "effect", "attribute", "controls", "receptive_field", "images")
SAVING = ("venue", "width", "dpi", "anonymous", "dataset")


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
            self.settings = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SkvizError(f"{path} is not a TOML file that can be read: {error}") from error
        self.model, self.device = model, device
        self.studies: dict[str, Any] = {}
        self.figures: dict[str, InlineFigure] = {}
        wanted = {"out", "formats", "venue", "study", "figure"}
        if not self.settings.get("figure") or set(self.settings) - wanted:
            raise SkvizError(
                f"{path}: expected [[figure]] and of {sorted(wanted)} what is needed; got "
                f"{sorted(self.settings)}"
            )

    def write(self, out: str | os.PathLike[str] | None = None) -> Iterator[tuple[Any, Path]]:
        """Draw and save every figure; yield each with the path of its first format."""
        folder = Path(out or self.settings.get("out", "figures"))
        for entry in self.settings["figure"]:
            options = dict(entry)
            name = options.pop("name", entry.get("plot"))
            saving = {key: options.pop(key) for key in SAVING if key in options}
            saving.setdefault("venue", self.settings.get("venue"))
            venue, width = saving.pop("venue"), saving.pop("width", None)
            made = sized(self.draw(name, options), venue, width)
            formats = self.settings.get("formats", ["pdf"])
            paths = [save_figure(made, folder / f"{name}.{each}", **saving) for each in formats]
            yield made, paths[0]

    def draw(self, name: str, options: dict[str, Any]) -> InlineFigure:
        """Draw one figure from its study, or a panel from figures drawn before."""
        kind, of, study = (options.pop(key, None) for key in ("plot", "of", "study"))
        if kind not in plot.__all__:
            raise SkvizError(f"figure {name!r}: no plot {kind!r}; there are {plot.__all__}")
        if kind == "panel":
            unknown = [each for each in of or [] if each not in self.figures]
            if unknown:
                raise SkvizError(f"figure {name!r}: {unknown} are not figures above it")
            given: tuple[Any, ...] = ([self.figures[each] for each in of or []],)
        else:
            found = self.study(study)
            given = found if isinstance(found, tuple) else (found,)
        try:
            self.figures[name] = getattr(plot, kind)(*given, **options)
        except TypeError as error:
            raise SkvizError(f"figure {name!r} cannot be drawn: {error}") from error
        return self.figures[name]

    def study(self, name: str) -> Any:
        """Return a study's data, made at the first call; of ``images`` a model and its input."""
        known = self.settings.get("study", {})
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
        if run not in RUNS:
            raise SkvizError(f"study {name!r}: run is one of {', '.join(RUNS)}, got {run!r}")
        asked = options.pop("model", "objects")
        model: Any = zoo.load(self.model if asked == "objects" else asked)
        chosen = {key: options.pop(key) for key in ("category", "family") if key in options}
        cut_outs = data.objects(**chosen)
        cut_outs = cut_outs.take(range(min(options.pop("first", len(cut_outs)), len(cut_outs))))
        card = getattr(model, "card", None)
        scenes = place(cut_outs, canvas=card.canvas if card else 96, seed=options.pop("seed", 0))
        if run == "images":
            return model, scenes.render(options.pop("scale", 1.0))
        if "target" in options:
            options["target"] = [
                branch_weight(**each) if isinstance(each, dict) else each
                for each in options["target"]
            ]
        try:
            return getattr(skviz, run)(model, scenes, device=self.device, **options)
        except TypeError as error:
            raise SkvizError(f"study {name!r} cannot be run: {error}") from error
