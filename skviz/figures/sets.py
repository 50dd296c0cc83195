"""Whole sets of figures from one TOML file.

A file says where, for which page, from which studies, and which figures::

    out = "figures"
    formats = ["pdf", "png"]
    venue = "cvpr"

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
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import skviz
from skviz import plot, stats
from skviz.attribution import target as targets
from skviz.errors import SkvizError, entrance
from skviz.figures.saving import save_figure, sized
from skviz.models import zoo
from skviz.scenes import cutouts
from skviz.scenes.cutouts import place
from skviz.studies import store
from skviz.studies.setting import canvas_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FigureSet"]

RUNS = (
    "sweep", "effect", "attribute", "faithfulness", "controls", "receptive_field", "factorial",
    "readings", "images", "unit",
)  # fmt: skip
SAID: dict[str, Any] = {
    "factorial": stats.main_effects,
    "readings": stats.explained,
}  # what is drawn of a study
SAVING = ("venue", "width", "dpi", "anonymous", "dataset")


@dataclass(frozen=True)
class Settings:
    """What a file may say."""

    figure: Sequence[Mapping[str, Any]]
    study: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    out: str = "figures"
    formats: Sequence[str] = ("pdf",)
    venue: str | None = None


@dataclass(frozen=True)
class Entry:
    """What every figure of a file may say, beside the options of its plot."""

    plot: str
    name: str | None = None
    study: str | None = None
    of: Sequence[str] = ()


@contextmanager
def about(what: str) -> Iterator[None]:
    """Say which figure or study an error is about."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, LookupError, SkvizError) as error:
        raise SkvizError(f"{what}: {error}") from error


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
            said = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SkvizError(f"{path} is not a TOML file that can be read: {error}") from error
        with about(str(path)):
            self.settings = entrance(Settings)(**said)
        self.model, self.device = model, device
        self.studies: dict[str, Any] = {}
        self.figures: dict[str, Figure] = {}
        self.entries: dict[str, dict[str, Any]] = {}
        if not self.settings.figure or not self.settings.formats:
            raise SkvizError(f"{path}: expected a [[figure]] at least, and one of formats")
        for entry in self.settings.figure:
            with about(f"{path}: a figure"):
                known = {each.name for each in fields(Entry)}
                head = entrance(Entry)(**{key: entry[key] for key in entry if key in known})
            name = head.name or head.plot
            if name in self.entries or head.plot not in plot.__all__ or Path(name).name != name:
                raise SkvizError(
                    f"{path}: figure {name!r} needs a name of its own, which is that of its file, "
                    f"and a plot of {plot.__all__}"
                )
            self.entries[name] = {key: entry[key] for key in entry if key != "name"}

    def write(
        self, out: str | os.PathLike[str] | None = None, *, only: Iterable[str] | None = None
    ) -> Iterator[tuple[Any, Path]]:
        """Draw and save every figure, or only some; yield each with the path of its first format.

        Raises
        ------
        SkvizError
            If one of them is not in the file, or cannot be drawn or written.
        """
        folder = Path(out or self.settings.out)
        formats = self.settings.formats
        for name in only or self.entries:
            made = self.figure(name)
            saving = {k: v for k, v in self.entries[name].items() if k in SAVING}
            venue = saving.pop("venue", self.settings.venue)
            made = sized(made, venue, saving.pop("width", None))
            paths = [save_figure(made, folder / f"{name}.{each}", **saving) for each in formats]
            yield made, paths[0]

    def figure(self, name: str) -> Any:
        """Draw one figure of the file, from its study or as a panel of others, once."""
        if name not in self.entries:
            raise SkvizError(f"no figure {name!r}; the file has {list(self.entries)}")
        if name not in self.figures:
            options = {k: v for k, v in self.entries[name].items() if k not in SAVING}
            kind, study = options.pop("plot"), options.pop("study", None)
            if kind == "panel":
                others = [each for each in options.pop("of", ()) if each != name]
                given: tuple[Any, ...] = ([self.figure(each) for each in others],)
            else:
                found = self.study(study)
                given = found if isinstance(found, tuple) else (found,)
            with about(f"figure {name!r} cannot be drawn"):
                self.figures[name] = getattr(plot, kind)(*given, **options)
        return self.figures[name]

    def study(self, name: str) -> Any:
        """Return a study's data, made at the first call: whatever its plots take."""
        known = self.settings.study
        if name not in known:
            raise SkvizError(f"no study {name!r}; the file has {sorted(known)}")
        if name not in self.studies:
            with about(f"study {name!r} cannot be run"):
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
        if run == "unit":
            return model.get_submodule(options.pop("unit"))
        chosen = {key: options.pop(key) for key in ("category", "family") if key in options}
        cut_outs = cutouts.objects(**chosen)
        cut_outs = cut_outs[: options.pop("first", len(cut_outs))]
        scenes = place(cut_outs, canvas=canvas_of(model), seed=options.pop("seed", 0))
        if run == "images":
            return model, scenes.render(options.pop("scale", 1.0))
        if "target" in options:
            options["target"] = [
                targets.branch(**each) if isinstance(each, dict) else each
                for each in options["target"]
            ]
        made = getattr(skviz, run)(model, scenes, device=self.device, **options)
        return SAID[run](made) if run in SAID else made
