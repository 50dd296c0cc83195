"""The `skviz` command."""

from __future__ import annotations

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from skviz.errors import SkvizError, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from distributed import Client

    from skviz.figures.sets import FigureSet
    from skviz.scenes.cutouts import Objects
    from skviz.scenes.source import Scenes

NETWORK = "a shipped network, a .safetensors file, timm/NAME, or package.module:function"


def figures(arguments: argparse.Namespace) -> None:
    """Draw the shipped set of figures from the held-out objects, and print the shifts."""
    config = Path(__file__).parent / "figures" / "figures.toml"
    made = write_set(config, arguments, model=arguments.model)
    print(f"\n{shift_table(made.study('objects'), 'category')}")


def export(arguments: argparse.Namespace) -> None:
    """Draw the figures of a file, and print the LaTeX that shows them."""
    write_set(arguments.config, arguments, show=True)


def write_set(
    config: Path, arguments: argparse.Namespace, *, model: str = "objects", show: bool = False
) -> FigureSet:
    """Draw the figures of a file, printing each path, and the LaTeX if asked to."""
    from skviz.figures.saving import latex
    from skviz.figures.sets import FigureSet

    made = FigureSet(config, model=model, device=arguments.device)
    for figure, path in made.write(arguments.out, only=arguments.only):
        said = f"{path}\n{latex(figure, path)}\n" if show else f"{path}"
        print(printable(said), flush=True)
    return made


def show_provenance(arguments: argparse.Namespace) -> None:
    """Print what a figure was made from."""
    from skviz.figures.record import read

    known = {key: value for key, value in read(arguments.figure).items() if key != "numbers"}
    print(json.dumps(known, indent=2, ensure_ascii=False))


def make_again(arguments: argparse.Namespace) -> int:
    """Make a figure again from what its file says, and say whether the numbers are the same."""
    from skviz.figures.rebuilding import reproduce
    from skviz.models import zoo

    found = reproduce(
        arguments.figure,
        model=zoo.load(arguments.model) if arguments.model else None,
        images=arguments.folder,
        device=arguments.device,
    )
    if arguments.json:
        shown = {key: value for key, value in found.items() if key != "figure"}
        print(json.dumps(shown, indent=2, ensure_ascii=False))
        return 0 if found["same"] else 1
    word = "same" if found["same"] else "OTHER"
    worst = f" ({found['where']})" if found["difference"] else ""
    print(
        f"{word} numbers: {found['count']} compared, largest difference "
        f"{found['difference']:.2g}{worst}"
    )
    for package, then in found["then"].items():
        if then != found["now"][package]:
            print(f"{package}: then {then}, now {found['now'][package]}")
    return 0 if found["same"] else 1


def shift_table(ds: xr.Dataset, cluster: str | None = None) -> str:
    """Print-ready table of the shift of every unit."""
    from skviz import stats

    found = stats.shift(ds, cluster=cluster)
    first, last = ds["scale"].values[[0, -1]]
    lines = [
        f"change of the attention difference from scale {first:g} to {last:g}, "
        f"{found.attrs['images']} images; {found.attrs['method']}",
        f"{'unit':<14}{'kernels':<11}{'shift':>8}   {'95 % interval':<18}{'towards larger':>14}",
    ]
    for unit in ds["unit"].values:
        here, kernels = found.sel(unit=unit), ds["kernel"].sel(unit=unit).dropna("branch").values
        bounds = f"{float(here['low']):+.4f} … {float(here['high']):+.4f}"
        lines.append(
            f"{unit:<14}{', '.join(f'{k:.0f}' for k in kernels):<11}"
            f"{float(here['estimate']):>+8.4f}   {bounds:<18}{float(here['share']):>14.0%}"
        )
    return "\n".join(lines)


def show_units(arguments: argparse.Namespace) -> None:
    """Print the units of a network, found on images of seeded noise."""
    import torch

    from skviz.capture import find_units
    from skviz.models import device, zoo

    where = device.resolve(arguments.device)
    model = zoo.load(arguments.model, pretrained=False).to(where)
    card = getattr(model, "card", None)
    side = arguments.side or (card.canvas if card else 224)
    images = torch.rand((3, 3, side, side), generator=torch.Generator().manual_seed(0))
    units = find_units(model, images.to(where))
    if arguments.json:
        shown = ("name", "kind", "kernels", "branches", "channels", "spatial", "calls", "notes")
        rows = [{key: getattr(unit, key) for key in shown} for unit in units]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        print(units)


def run_sweep(arguments: argparse.Namespace) -> None:
    """Sweep objects or a folder into a Zarr store, or go on where one stopped."""
    from skviz.models import zoo
    from skviz.scenes.cutouts import objects
    from skviz.scenes.photographs import photographs
    from skviz.studies.setting import canvas_of
    from skviz.studies.sweeps import sweep

    model = zoo.load(arguments.model)
    if arguments.folder and arguments.family:
        raise SkvizError("--family is for the shipped objects; a folder has only --category")
    if arguments.protocol and not arguments.folder:
        raise SkvizError("--protocol is for --folder; the shipped objects are always rescaled")
    if arguments.folder:
        pictures = photographs(arguments.folder).where(category=arguments.category)
        show = pictures.cut_out if arguments.protocol == "rescale" else pictures.zoom
        source: Objects | Scenes = show(canvas=canvas_of(model))
    else:
        source = objects(category=arguments.category, family=arguments.family)
    ds = sweep(
        model,
        source,
        scales=arguments.scales,
        batch=arguments.batch,
        device=arguments.device,
        store=arguments.out,
        chunk=arguments.chunk,
        channels=arguments.channels,
        on_error=arguments.on_error,
        client=connected(arguments.scheduler) if arguments.scheduler else None,
    )
    print(arguments.out)
    skipped = ds["problem"].load().where(ds["problem"] != "", drop=True)
    for name, problem in zip(skipped["image"].values, skipped.values, strict=True):
        print(printable(f"skipped {name}: {problem}"))
    ds = ds.isel(image=(ds["problem"] == "").values)
    if ds.sizes["scale"] > 1 and ds.sizes["image"] > 1:
        print(shift_table(ds))


def connected(address: str) -> Client:
    """Connect to a Dask scheduler."""
    try:
        from distributed import Client
    except ImportError as error:
        raise SkvizError("--scheduler needs Dask: pip install skviz[cluster]") from error
    try:
        return Client(address)
    except (OSError, ValueError) as error:
        raise SkvizError(f"no Dask scheduler at {address} ({error})") from error


class Defaults(argparse.ArgumentDefaultsHelpFormatter):
    """Say the defaults that there are."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return super()._get_help_string(action) if action.default else action.help


def numbers(text: str) -> tuple[float, ...]:
    """Read numbers between commas."""
    return tuple(float(part) for part in text.split(","))


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(
        prog="skviz",
        description="See, measure and test the branch weights of SK networks.",
        epilog="skviz COMMAND --help says more, with an example.",
    )
    top.add_argument("--version", action="version", version=f"skviz {version('skviz')}")
    commands = top.add_subparsers(required=True, metavar="command")

    def command(function: object, name: str, text: str, example: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=f"example: skviz {name} {example}",
            formatter_class=Defaults,
        )
        made.set_defaults(function=function)
        made.add_argument("--device", default="auto", help="auto, cpu or cuda")
        return made

    made = command(figures, "figures", "study the shipped objects and write the figures", "")
    made.add_argument("--model", default="objects", help=NETWORK)
    made.add_argument("--out", type=Path, default=Path("figures"), help="folder")
    made.add_argument("--only", nargs="+", metavar="NAME", help="only these figures")

    made = command(
        export, "export", "draw the figures that a file describes", "paper.toml --out figures"
    )
    made.add_argument("config", type=Path, help="a TOML file; see skviz.figure_sets")
    made.add_argument("--out", type=Path, help="folder, instead of the file's")
    made.add_argument("--only", nargs="+", metavar="NAME", help="only these figures")

    made = command(show_provenance, "provenance", "print what a figure was made from", "scale.pdf")
    made.add_argument("figure", type=Path, help="a file that skviz wrote")

    made = command(
        make_again,
        "reproduce",
        "make a figure again, and compare its numbers",
        "scale.pdf --folder photos/",
    )
    made.add_argument("figure", type=Path, help="a file that skviz wrote")
    made.add_argument("--model", help=f"if it is none that ships: {NETWORK}")
    made.add_argument("--json", action="store_true", help="print what was found as JSON")
    made.add_argument("--folder", type=Path, help="of the images, if they are your own")

    made = command(
        show_units,
        "units",
        "list the units of a network, and how they were found",
        "timm/skresnet18 --side 224",
    )
    made.add_argument("model", help=NETWORK)
    made.add_argument("--side", type=int, help="of the images, in pixels; else what it wants")
    made.add_argument("--json", action="store_true", help="print the units as JSON")

    made = command(
        run_sweep,
        "sweep",
        "sweep scenes into a store, or go on with a stopped sweep",
        "study.zarr --folder photos/ --model caltech --scales 1,1.5,2",
    )
    made.add_argument("out", type=Path, help="a Zarr store, such as study.zarr")
    made.add_argument("--folder", type=Path, help="of images, by class, or images/ and masks/")
    made.add_argument("--protocol", choices=["zoom", "rescale"], help="of images; zoom by default")
    made.add_argument("--model", default="objects", help=NETWORK)
    made.add_argument("--scales", type=numbers, metavar="0.5,1,2")
    made.add_argument("--category", nargs="+", help="only these categories")
    made.add_argument("--family", nargs="+", help="only these design families")
    made.add_argument("--batch", type=int, help="images per forward pass")
    made.add_argument("--chunk", type=int, default=128, help="images per task")
    made.add_argument("--channels", action="store_true", help="keep the weight of every channel")
    made.add_argument(
        "--on-error", choices=["stop", "skip"], default="stop", help="at an image that fails"
    )
    made.add_argument("--scheduler", metavar="tcp://…", help="a Dask scheduler whose workers do it")
    return top


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; a `SkvizError` is one line on standard error and exit status 1."""
    arguments = parser().parse_args(words)
    try:
        return int(arguments.function(arguments) or 0)
    except SkvizError as error:
        print(f"skviz: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("skviz: stopped; a sweep goes on if the same is run again", file=sys.stderr)
        return 130
