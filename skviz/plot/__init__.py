"""Figures from a sweep: one function each, drawn without pyplot, returned and never shown."""

from skviz.plot.branch_heatmap import branch_heatmap
from skviz.plot.scale_response import scale_response
from skviz.plot.three_scales import three_scales

__all__ = ["branch_heatmap", "scale_response", "three_scales"]
