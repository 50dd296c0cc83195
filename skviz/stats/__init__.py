"""What a sweep says, in numbers with intervals."""

from skviz.stats.measures import (
    attention_difference,
    compare,
    expected_kernel,
    holm,
    interval,
    kernels,
    paired,
    root,
    shift,
)

__all__ = [
    "attention_difference",
    "compare",
    "expected_kernel",
    "holm",
    "interval",
    "kernels",
    "paired",
    "root",
    "shift",
]
