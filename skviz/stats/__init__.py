"""What a sweep says, in numbers with intervals."""

from skviz.stats.factors import main_effects, over_networks
from skviz.stats.intervals import estimate, interval
from skviz.stats.measures import (
    attention_difference,
    channels,
    compare,
    ends,
    expected_kernel,
    holm,
    kernels,
    largest,
    paired,
    shift,
)
from skviz.stats.regression import explained

__all__ = [
    "attention_difference",
    "channels",
    "compare",
    "ends",
    "estimate",
    "expected_kernel",
    "explained",
    "holm",
    "interval",
    "kernels",
    "largest",
    "main_effects",
    "over_networks",
    "paired",
    "shift",
]
