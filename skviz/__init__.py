"""See, measure and test the branch weights of Selective-Kernel networks.

The names below are what a newcomer needs; each is imported when it is first used, so that
``import skviz`` costs nothing.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skviz import (
        assets as assets,
    )
    from skviz import (
        attribution as attribution,
    )
    from skviz import (
        capture as capture,
    )
    from skviz import (
        explorer as explorer,
    )
    from skviz import (
        figures as figures,
    )
    from skviz import (
        models as models,
    )
    from skviz import (
        plot as plot,
    )
    from skviz import (
        scenes as scenes,
    )
    from skviz import (
        stats as stats,
    )
    from skviz import (
        studies as studies,
    )
    from skviz.attribution import (
        attribute as attribute,
    )
    from skviz.attribution import (
        branch_weight as branch_weight,
    )
    from skviz.attribution import (
        faithfulness as faithfulness,
    )
    from skviz.capture import find_units as find_units
    from skviz.capture.interventions import ablate as ablate
    from skviz.capture.interventions import force as force
    from skviz.capture.interventions import intervene as intervene
    from skviz.capture.recording import record as record
    from skviz.errors import SkvizError as SkvizError
    from skviz.explorer.widget import explore as explore
    from skviz.figures.saving import caption as caption
    from skviz.figures.saving import save_figure as save_figure
    from skviz.models.nn import SKAttention as SKAttention
    from skviz.models.wrapped import wrap as wrap
    from skviz.models.zoo import load as load
    from skviz.scenes.cutouts import objects as objects
    from skviz.scenes.cutouts import photographs as photographs
    from skviz.scenes.folders import from_dataset as from_dataset
    from skviz.scenes.folders import from_folder as from_folder
    from skviz.scenes.photographs import from_photographs as from_photographs
    from skviz.scenes.photographs import zoom as zoom
    from skviz.scenes.source import place as place
    from skviz.stats import (
        attention_difference as attention_difference,
    )
    from skviz.stats import (
        expected_kernel as expected_kernel,
    )
    from skviz.stats import (
        shift as shift,
    )
    from skviz.studies.comparison import controls as controls
    from skviz.studies.effects import effect as effect
    from skviz.studies.effects import swap as swap
    from skviz.studies.fields import receptive_field as receptive_field
    from skviz.studies.sweeps import sweep as sweep
    from skviz.studies.untrained import untrained as untrained

# Modules are nouns and entry points verbs, so that no function hides a module of its own name.
ENTRY_POINTS = {
    "SKAttention": "models.nn",
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
    "from_dataset": "scenes.folders",
    "from_folder": "scenes.folders",
    "from_photographs": "scenes.photographs",
    "intervene": "capture.interventions",
    "load": "models.zoo",
    "objects": "scenes.cutouts",
    "photographs": "scenes.cutouts",
    "place": "scenes.source",
    "receptive_field": "studies.fields",
    "record": "capture.recording",
    "save_figure": "figures.saving",
    "shift": "stats",
    "swap": "studies.effects",
    "sweep": "studies.sweeps",
    "untrained": "studies.untrained",
    "wrap": "models.wrapped",
    "zoom": "scenes.photographs",
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

__all__ = ["__version__", *ENTRY_POINTS, *ROOMS]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("skviz")
    if name in ROOMS:
        return import_module(f"skviz.{name}")
    if name not in ENTRY_POINTS:
        raise AttributeError(f"module 'skviz' has no attribute {name!r}")
    return getattr(import_module(f"skviz.{ENTRY_POINTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
