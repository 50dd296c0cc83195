"""Figures from a sweep: one function each, drawn without pyplot, returned and never shown."""

from skviz.plot.attribution_grid import attribution_grid
from skviz.plot.branch_heatmap import branch_heatmap
from skviz.plot.control_shifts import control_shifts
from skviz.plot.faithfulness import faithfulness
from skviz.plot.intervention_effect import intervention_effect
from skviz.plot.receptive_field import receptive_field
from skviz.plot.scale_response import scale_response
from skviz.plot.three_scales import three_scales

__all__ = [
    "attribution_grid",
    "branch_heatmap",
    "control_shifts",
    "faithfulness",
    "intervention_effect",
    "receptive_field",
    "scale_response",
    "three_scales",
]
