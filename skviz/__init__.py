"""See, measure and test the branch weights of Selective-Kernel networks.

The names below are what a newcomer needs; each is imported when it is first used, so that
``import skviz`` costs nothing.
"""

from importlib import import_module
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
    from skviz.attribution import attribute, branch_weight, faithfulness
    from skviz.capture import find_units
    from skviz.capture.interventions import ablate, force, intervene
    from skviz.capture.recording import record
    from skviz.errors import SkvizError
    from skviz.explorer.widget import explore
    from skviz.figures.saving import caption, save_figure
    from skviz.models.zoo import load
    from skviz.scenes.cutouts import objects, place
    from skviz.scenes.photographs import photographs
    from skviz.stats import attention_difference, expected_kernel, shift
    from skviz.studies.comparison import controls
    from skviz.studies.effects import effect, swap
    from skviz.studies.fields import receptive_field
    from skviz.studies.sweeps import sweep
    from skviz.studies.untrained import untrained

# Modules are nouns and entry points verbs, so that no function hides a module of its own name.
ENTRY_POINTS = {
    "SkvizError": "errors",
    "ablate": "capture.interventions",
    "attention_difference": "stats",
    "attribute": "attribution",
    "branch_weight": "attribution",
    "caption": "figures.saving",
    "controls": "studies.comparison",
    "effect": "studies.effects",
    "expected_kernel": "stats",
    "explore": "explorer.widget",
    "faithfulness": "attribution",
    "find_units": "capture",
    "force": "capture.interventions",
    "intervene": "capture.interventions",
    "load": "models.zoo",
    "objects": "scenes.cutouts",
    "photographs": "scenes.photographs",
    "place": "scenes.cutouts",
    "receptive_field": "studies.fields",
    "record": "capture.recording",
    "save_figure": "figures.saving",
    "shift": "stats",
    "swap": "studies.effects",
    "sweep": "studies.sweeps",
    "untrained": "studies.untrained",
}

ROOMS = (
    "assets",
    "attribution",
    "capture",
    "explorer",
    "figures",
    "models",
    "plot",
    "scenes",
    "stats",
    "studies",
)

__all__ = [*ENTRY_POINTS, *ROOMS]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in ROOMS:
        return import_module(f"skviz.{name}")
    if name not in ENTRY_POINTS:
        raise AttributeError(f"module 'skviz' has no attribute {name!r}")
    return getattr(import_module(f"skviz.{ENTRY_POINTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
