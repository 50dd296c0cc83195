"""What a sweep says, in numbers with intervals."""

from skviz.stats.branches import channels
from skviz.stats.intervals import estimate, interval
from skviz.stats.measures import (
    attention_difference,
    compare,
    ends,
    expected_kernel,
    holm,
    kernels,
    largest,
    paired,
    root,
    shift,
)

__all__ = [
    "attention_difference",
    "channels",
    "compare",
    "ends",
    "estimate",
    "expected_kernel",
    "holm",
    "interval",
    "kernels",
    "largest",
    "paired",
    "root",
    "shift",
]
