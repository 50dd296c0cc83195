"""What a sweep says, in numbers with intervals."""

from skviz.stats.intervals import estimate, interval
from skviz.stats.measures import (
    attention_difference,
    compare,
    ends,
    expected_kernel,
    holm,
    kernels,
    paired,
    root,
    shift,
)

__all__ = [
    "attention_difference",
    "compare",
    "ends",
    "estimate",
    "expected_kernel",
    "holm",
    "interval",
    "kernels",
    "paired",
    "root",
    "shift",
]
