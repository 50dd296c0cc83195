"""Figures from a sweep: one function each, drawn without pyplot, returned and never shown."""

from skviz.plot.branch_heatmap import branch_heatmap
from skviz.plot.channel_raster import channel_raster
from skviz.plot.class_curves import class_curves
from skviz.plot.expected_kernel import expected_kernel
from skviz.plot.impulse_response import impulse_response
from skviz.plot.panel import panel
from skviz.plot.scale_response import scale_response
from skviz.plot.ternary import ternary
from skviz.plot.three_scales import three_scales
from skviz.plot.unit_diagram import unit_diagram

__all__ = [
    "branch_heatmap",
    "channel_raster",
    "class_curves",
    "expected_kernel",
    "impulse_response",
    "panel",
    "scale_response",
    "ternary",
    "three_scales",
    "unit_diagram",
]
