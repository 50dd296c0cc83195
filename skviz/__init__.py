"""See, measure and test the branch weights of Selective-Kernel networks.

The names below are what a newcomer needs; each is imported when it is first used, so that
``import skviz`` costs nothing.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skviz import (
        assets,
        attribution,
        capture,
        explorer,
        figures,
        models,
        plot,
        scenes,
        stats,
        studies,
    )
    from skviz.attribution import attribute, faithfulness, target
    from skviz.capture import find_units
    from skviz.capture.interventions import ablate, force, intervene
    from skviz.capture.recording import record
    from skviz.errors import SkvizError
    from skviz.explorer.entry import explore
    from skviz.figures.rebuilding import reproduce
    from skviz.figures.saving import caption, save_figure
    from skviz.models.nn import SKAttention
    from skviz.models.wrapped import wrap
    from skviz.models.zoo import load
    from skviz.scenes.cutouts import objects, place
    from skviz.scenes.photographs import photographs
    from skviz.stats import attention_difference, expected_kernel, shift
    from skviz.studies.comparison import controls
    from skviz.studies.effects import effect
    from skviz.studies.experiment import factorial
    from skviz.studies.exported import to_onnx
    from skviz.studies.fields import receptive_field
    from skviz.studies.observation import readings
    from skviz.studies.swaps import swap
    from skviz.studies.sweeps import sweep
    from skviz.studies.untrained import untrained

__all__ = [
    "SKAttention",
    "SkvizError",
    "__version__",
    "ablate",
    "assets",
    "attention_difference",
    "attribute",
    "attribution",
    "caption",
    "capture",
    "controls",
    "effect",
    "expected_kernel",
    "explore",
    "explorer",
    "factorial",
    "faithfulness",
    "figures",
    "find_units",
    "force",
    "intervene",
    "load",
    "models",
    "objects",
    "photographs",
    "place",
    "plot",
    "readings",
    "receptive_field",
    "record",
    "reproduce",
    "save_figure",
    "scenes",
    "shift",
    "stats",
    "studies",
    "swap",
    "sweep",
    "target",
    "to_onnx",
    "untrained",
    "wrap",
]

# Modules are nouns and entry points verbs, so that no function hides a module of its own name.
ENTRY_POINTS = {
    "SKAttention": "models.nn",
    "SkvizError": "errors",
    "ablate": "capture.interventions",
    "attention_difference": "stats",
    "attribute": "attribution",
    "caption": "figures.saving",
    "controls": "studies.comparison",
    "effect": "studies.effects",
    "expected_kernel": "stats",
    "explore": "explorer.entry",
    "factorial": "studies.experiment",
    "faithfulness": "attribution",
    "find_units": "capture",
    "force": "capture.interventions",
    "intervene": "capture.interventions",
    "load": "models.zoo",
    "objects": "scenes.cutouts",
    "photographs": "scenes.photographs",
    "place": "scenes.cutouts",
    "readings": "studies.observation",
    "receptive_field": "studies.fields",
    "record": "capture.recording",
    "reproduce": "figures.rebuilding",
    "save_figure": "figures.saving",
    "shift": "stats",
    "swap": "studies.swaps",
    "sweep": "studies.sweeps",
    "to_onnx": "studies.exported",
    "untrained": "studies.untrained",
    "wrap": "models.wrapped",
}

ROOMS = tuple(sorted({*__all__} - {*ENTRY_POINTS, "__version__", "target"}))


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("skviz")
    if name == "target":
        return import_module("skviz.attribution.target")
    if name in ROOMS:
        return import_module(f"skviz.{name}")
    if name not in ENTRY_POINTS:
        raise AttributeError(f"module 'skviz' has no attribute {name!r}")
    return getattr(import_module(f"skviz.{ENTRY_POINTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
