"""What `skviz.attribute` can be asked about: ``skviz.target.branch(unit, kernel=5)`` and others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from skviz.attribution.targets import Asked
from skviz.capture.kernels import Kernel
from skviz.errors import entrance

if TYPE_CHECKING:
    from skviz.capture import Unit

__all__ = ["branch", "category", "classes", "difference", "every_branch"]


@entrance
def branch(
    unit: str,
    *,
    kernel: Kernel | None = None,
    branch: int | None = None,
    channels: Sequence[int] | None = None,
) -> Asked:
    """Target the mean weight of one branch of a unit.

    Parameters
    ----------
    unit
        Its name as `skviz.find_units` gives it; ``"name@1"`` for the second call of a unit that
        runs several times.
    kernel, branch
        Which branch, by effective kernel or by index.
    channels
        Only these; by default the mean over all.
    """
    chosen = None if channels is None else tuple(channels)
    return Asked("branch", unit, kernel, branch, chosen)


@entrance
def difference(unit: str) -> Asked:
    """Target the weight of a unit's largest kernel minus that of its smallest (section 4.4)."""
    return Asked("difference", unit)


def category() -> str:
    """Target the true class of each image."""
    return "category"


@entrance
def classes(numbers: Sequence[int]) -> Asked:
    """Target one class for each image, by number."""
    return Asked("classes", numbers=tuple(numbers))


def every_branch(units: Sequence[Unit]) -> list[Asked]:
    """Target every branch of every call of these units."""
    return [
        Asked("branch", name, branch=index)
        for unit in units
        for name in unit.call_names
        for index in range(unit.branches)
    ]
