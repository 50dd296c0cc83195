"""Where each public name comes from; `skviz/__init__.py` imports it when it is first used."""

from . import (
    assets as assets,
    attribution as attribution,
    capture as capture,
    explorer as explorer,
    figures as figures,
    models as models,
    plot as plot,
    scenes as scenes,
    stats as stats,
    studies as studies,
)
from .attribution import attribute as attribute, faithfulness as faithfulness, target as target
from .capture import find_units as find_units
from .capture.interventions import ablate as ablate, force as force, intervene as intervene
from .capture.recording import record as record
from .errors import SkvizError as SkvizError
from .explorer.entry import explore as explore
from .figures.rebuilding import reproduce as reproduce
from .figures.saving import caption as caption, save_figure as save_figure
from .models.nn import SKAttention as SKAttention
from .models.wrapped import wrap as wrap
from .models.zoo import load as load
from .scenes.cutouts import objects as objects, place as place
from .scenes.photographs import photographs as photographs
from .stats import (
    attention_difference as attention_difference,
    expected_kernel as expected_kernel,
    shift as shift,
)
from .studies.comparison import controls as controls
from .studies.effects import effect as effect
from .studies.experiment import factorial as factorial
from .studies.exported import to_onnx as to_onnx
from .studies.fields import receptive_field as receptive_field
from .studies.observation import readings as readings
from .studies.swaps import swap as swap
from .studies.sweeps import sweep as sweep
from .studies.untrained import untrained as untrained

__version__: str
