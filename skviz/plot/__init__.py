"""Figures of studies: one function each, drawn without pyplot, returned and never shown."""

from skviz.plot.article import three_scales
from skviz.plot.causes import explained, main_effects
from skviz.plot.curves import class_curves, expected_kernel, scale_response
from skviz.plot.diagram import unit_diagram
from skviz.plot.evidence import control_shifts, faithfulness, intervention_effect
from skviz.plot.maps import branch_heatmap, channel_raster, impulse_response
from skviz.plot.panels import panel
from skviz.plot.triangle import ternary
from skviz.plot.views import attribution_grid, receptive_field

__all__ = [
    "attribution_grid",
    "branch_heatmap",
    "channel_raster",
    "class_curves",
    "control_shifts",
    "expected_kernel",
    "explained",
    "faithfulness",
    "impulse_response",
    "intervention_effect",
    "main_effects",
    "panel",
    "receptive_field",
    "scale_response",
    "ternary",
    "three_scales",
    "unit_diagram",
]
