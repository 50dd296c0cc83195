"""What README says that the network `objects` does: measured, kept, and written by one command.

``python -m recipes findings`` measures (minutes) and keeps every number in `docs/findings.json`;
what stands between the marks in README is written from that file alone, rounded once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import skviz
from recipes.crops import crops
from skviz import stats
from skviz.scenes import cutouts
from skviz.scenes.backgrounds import real_backgrounds

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr
    from torch import Tensor

    from skviz.scenes.source import Scenes

__all__ = ["KEPT", "README", "as_json", "measure", "placed", "short", "signed", "written"]

KEPT = Path(__file__).parents[1] / "docs" / "findings.json"
README = Path(__file__).parents[1] / "README.md"
SMALL, LARGE = 0.5, 2.0
GROWTH = ("copies", "copies scattered", "size", "size scattered")
CLUSTER = "category"  # two designers drew each: their scenes are not independent


def photographed(count: int, seed: int, canvas: int = 96) -> Tensor:
    """Cut backgrounds (count, 3, S, S) out of photographs that the network never saw."""
    pictures = list(real_backgrounds(held_out=True).values())
    return crops(pictures, [seed * 1_000_003 + i for i in range(count)], canvas)


def measure(echo: Callable[[str], None] = print) -> dict[str, Any]:
    """Measure everything; a few minutes on two cores."""
    model = skviz.load("objects")
    objects = skviz.objects(family=cutouts.HELD_OUT_FAMILIES)
    first, other = skviz.place(objects, seed=0), skviz.place(objects, seed=1)
    real = skviz.place(objects, backgrounds=photographed(len(objects), 0))
    both = [SMALL, LARGE]
    found: dict[str, Any] = {"scenes": len(objects), "categories": len(objects.categories)}
    for name, scenes in (("procedural", first), ("photographed", real)):
        echo(f"shifts, {name} backgrounds")
        swept = skviz.sweep(model, scenes, scales=both, progress=False)
        found[name] = table(stats.shift(swept, cluster=CLUSTER))
        found[f"{name} accuracy"] = swept["correct"].to_numpy().mean(0).tolist()
    found["units"] = swept["unit"].to_numpy().tolist()
    echo("controls")
    found["controls"] = compared(skviz.controls(model, other, scales=both, progress=False))
    echo("controls, photographed backgrounds")
    ds = skviz.controls(model, real, scales=both, names=GROWTH, seeds=0, progress=False)
    found["photographed controls"] = compared(ds)
    echo("interventions")
    found["accuracy"] = interventions(first, model)
    echo("receptive fields")
    ds = skviz.receptive_field(model, other[::4][:16], scales=both, progress=False)
    radius = ds["radius"].sel(share=0.95, drop=True)
    growth = radius.isel(scale=-1, drop=True) / radius.isel(scale=0, drop=True) - 1
    means = growth.mean("image")
    found["radius"] = {
        str(s): means.sel(selection=s).values.tolist() for s in means.selection.values
    }
    return found


def interventions(scenes: Scenes, model: Any) -> dict[str, list[float]]:
    """Accuracy, and its interval, of small objects with weights that are not their own."""
    swaps = {
        "large": skviz.swap(scale=LARGE),
        "background": skviz.swap(background=True),
        "object": skviz.swap(object=True),
        "mean": skviz.swap(scale=LARGE, part="mean"),
        "pattern": skviz.swap(scale=LARGE, part="pattern"),
    }
    ds = skviz.effect(model, scenes, swaps, scales=[SMALL], progress=False)
    right = ds["correct"].sel(unit="all", scale=SMALL, drop=True).astype(float)
    bounds = stats.interval(right, cluster=CLUSTER)
    names = ("estimate", "low", "high")
    return {
        str(name): [float(bounds[key].sel(intervention=name)) for key in names]
        for name in bounds["intervention"].values
    }


def table(found: xr.Dataset) -> dict[str, list[float]]:
    """Keep the numbers of each unit."""
    return {name: found[name].values.tolist() for name in ("estimate", "low", "high", "share")}


def compared(ds: xr.Dataset) -> dict[str, Any]:
    """Keep each control's shift and what the tests say of it, by name, unit by unit."""
    found = stats.compare(ds, cluster=CLUSTER)
    covered = ds["coverage"].mean("image")
    return {
        str(name): {
            "estimate": found["estimate"].sel(control=name).values.tolist(),
            "verdict": found["verdict"].sel(control=name).values.tolist(),
            "coverage": covered.sel(control=name).values.tolist(),
            "gain": ds["gain"].sel(control=name).values.tolist(),
        }
        for name in found["control"].values
    }


def short(value: Any) -> Any:
    """Keep six digits: what differs between processors comes after them."""
    if isinstance(value, dict):
        return {key: short(each) for key, each in value.items()}
    if isinstance(value, list):
        return [short(each) for each in value]
    return round(value, 6) if isinstance(value, float) else value


def as_json(found: dict[str, Any]) -> str:
    """Write what was found."""
    return json.dumps(short(found), indent=1, ensure_ascii=False) + "\n"


def written(readme: str) -> str:
    """Return README with what stands between its marks written from the numbers kept."""
    found = json.loads(KEPT.read_text())
    readme = placed(readme, "findings", "findings", section(found))
    return placed(readme, "headline", "findings", headline(found))


def placed(readme: str, name: str, command: str, words: str) -> str:
    """Put words between the marks of a name, which say the command that wrote them."""
    start, end = f"<!-- {name}: python -m recipes {command} -->\n", f"<!-- /{name} -->"
    try:
        before, rest = readme.split(start)
        _, after = rest.split(end)
    except ValueError as error:
        raise skviz.SkvizError(f"README has no place for {name!r}: {start}…{end}") from error
    return before + start + words + end + after


def text(name: str) -> str:
    """Read the words that stand around the numbers."""
    return Path(__file__).with_suffix(f".{name}.md").read_text(encoding="utf-8")


def signed(value: float) -> str:
    """Three digits, a sign, and a minus that is one."""
    return f"{value:+.3f}".replace("-", "−")


def reach(values: list[float]) -> str:
    """Say from where to where values reach."""
    return f"{signed(min(values))} to {signed(max(values))}"


def share(found: dict[str, dict[str, Any]]) -> str:
    """Say from what to what percentage of the claim copies move the units."""
    claim = np.array(found["object"]["estimate"])
    parts = [100 * np.array(found[n]["estimate"]) / claim for n in ("copies", "copies scattered")]
    return f"{np.min(parts):.0f} to {np.max(parts):.0f}"


def rows(found: dict[str, dict[str, Any]], said: dict[str, str]) -> str:
    """Lines of a table of controls; a star where the control is the same as the claim."""
    lines = []
    for name, text in said.items():
        here = found[name]
        marks = {"same": " =", "undecided": " ?"}
        cells = [
            signed(value) + marks.get(verdict, "")
            for value, verdict in zip(here["estimate"], here["verdict"], strict=True)
        ]
        covered = " → ".join(f"{100 * share:.0f}" for share in here["coverage"])
        lines.append(f"| {text} | {covered} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def headline(found: dict[str, Any]) -> str:
    """Return the table of shifts on both kinds of backgrounds."""
    lines = []
    for index, unit in enumerate(found["units"]):
        cells = []
        for name in ("procedural", "photographed"):
            here = {key: values[index] for key, values in found[name].items()}
            bounds = f"{signed(here['low'])} … {signed(here['high'])}"
            cells.append(f"{signed(here['estimate'])} | {bounds} | {100 * here['share']:.0f} %")
        lines.append(f"| {unit} | " + " | ".join(cells) + " |")
    return text("headline").format(rows="\n".join(lines), **found)


def section(found: dict[str, Any]) -> str:
    """Return what README says of controls, interventions and receptive fields."""
    controls, real = found["controls"], found["photographed controls"]
    units = [unit.removesuffix(".sk") for unit in found["units"]]
    untrained = [v for name, c in controls.items() if name.startswith("untrained")
                 for v in c["estimate"]]  # fmt: skip
    sizes = np.array(
        [each[name]["estimate"] for each in (controls, real) for name in ("size", "size scattered")]
    )  # (layout and background, unit)
    accuracy = {name: f"{100 * value[0]:.0f} %" for name, value in found["accuracy"].items()}
    radius = {
        name: ", ".join(f"{100 * value:+.0f}".replace("-", "−") for value in values[3:])
        for name, values in found["radius"].items()
    }
    return text("section").format(
        head="| what changes | covered, % | " + " | ".join(units) + " |",
        rule="|" + "---|" * (2 + len(units)),
        controls=rows(controls, SAID),
        real=rows(real, {name: SAID[name] for name in ("object", "copies", "size")}),
        untrained=reach(untrained),
        copies=share(controls),
        real_copies=share(real),
        size_first=reach(sizes[:, :4].ravel().tolist()),
        size_fifth=reach(sizes[:, 4].tolist()),
        size_last=reach(sizes[:, 5].tolist()),
        accuracy=accuracy,
        natural=radius["natural"],
        small=radius["3×3"],
        large=radius["5×5"],
        scenes=found["scenes"],
    )


SAID = {
    "object": "the object's scale",
    "copies": "1 → 16 copies, each as large as at first",
    "copies scattered": "the same at random places",
    "size": "16 → 1 objects, covering the same",
    "size scattered": "the same at random places",
    "scrambled": "the object's scale, its pixels scrambled",
    "silhouette": "the object's scale, filled with its mean colour",
    "blur": "its detail only, as if it grew",
    "background": "no object, the background enlarged",
    "position": "its place, from the middle to the border",
}
