"""See, measure and test the branch weights of Selective-Kernel networks.

The names below are what a newcomer needs; each is imported when it is first used, so that
``import skviz`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skviz import plot
    from skviz.attribution import attribute, branch_weight, faithfulness
    from skviz.comparison import controls
    from skviz.data import objects, photographs
    from skviz.effects import effect, swap
    from skviz.errors import SkvizError
    from skviz.export import caption, save_figure
    from skviz.interventions import ablate, force, intervene
    from skviz.photo_scenes import from_photographs, zoom
    from skviz.receptive_fields import receptive_field
    from skviz.recording import record
    from skviz.scenes import place
    from skviz.sources import from_dataset, from_folder
    from skviz.stats import attention_difference, expected_kernel, shift
    from skviz.sweeps import sweep
    from skviz.units import find_units
    from skviz.widget.explorer import explore
    from skviz.widget.html import export_html
    from skviz.zoo import load

# Modules are nouns and entry points verbs, so that no function hides a module of its own name.
ENTRY_POINTS = {
    "SkvizError": "errors",
    "ablate": "interventions",
    "attention_difference": "stats",
    "attribute": "attribution",
    "branch_weight": "attribution",
    "caption": "export",
    "controls": "comparison",
    "effect": "effects",
    "expected_kernel": "stats",
    "explore": "widget.explorer",
    "export_html": "widget.html",
    "faithfulness": "attribution",
    "find_units": "units",
    "force": "interventions",
    "from_dataset": "sources",
    "from_folder": "sources",
    "from_photographs": "photo_scenes",
    "intervene": "interventions",
    "load": "zoo",
    "objects": "data",
    "photographs": "data",
    "place": "scenes",
    "receptive_field": "receptive_fields",
    "record": "recording",
    "save_figure": "export",
    "shift": "stats",
    "swap": "effects",
    "sweep": "sweeps",
    "zoom": "photo_scenes",
}

__all__ = [*ENTRY_POINTS, "plot"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name == "plot":
        return import_module("skviz.plot")
    if name not in ENTRY_POINTS:
        raise AttributeError(f"module 'skviz' has no attribute {name!r}")
    return getattr(import_module(f"skviz.{ENTRY_POINTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
