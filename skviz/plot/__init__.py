"""Figures of studies: one function each, drawn without pyplot, returned and never shown."""

from skviz.plot.attribution_grid import attribution_grid
from skviz.plot.branch_heatmap import branch_heatmap
from skviz.plot.channel_raster import channel_raster
from skviz.plot.class_curves import class_curves
from skviz.plot.control_shifts import control_shifts
from skviz.plot.expected_kernel import expected_kernel
from skviz.plot.faithfulness import faithfulness
from skviz.plot.impulse_response import impulse_response
from skviz.plot.intervention_effect import intervention_effect
from skviz.plot.panel import panel
from skviz.plot.receptive_field import receptive_field
from skviz.plot.scale_response import scale_response
from skviz.plot.ternary import ternary
from skviz.plot.three_scales import three_scales
from skviz.plot.unit_diagram import unit_diagram

__all__ = [
    "attribution_grid",
    "branch_heatmap",
    "channel_raster",
    "class_curves",
    "control_shifts",
    "expected_kernel",
    "faithfulness",
    "impulse_response",
    "intervention_effect",
    "panel",
    "receptive_field",
    "scale_response",
    "ternary",
    "three_scales",
    "unit_diagram",
]
