"""Print precision and recall over the zoo: ``python -m tests.zoo``."""

from collections import Counter

import torch

from skviz.capture import find_units
from skviz.capture.kinds import KINDS, ONLY_ASKED_FOR

from . import (
    asked_for,
    degenerates,
    held_back,
    held_back_again,
    literature,
    negatives,
    not_asked_for,
    positives,
    wrapped,
)


def main() -> None:
    """Find the units of every model of the zoo and count."""
    torch.set_num_threads(1)
    right, wrong, missed = Counter[str](), Counter[str](), Counter[str]()
    kernels = known = 0
    for kind, cases in {
        "forms and branches": positives(),
        "wrapped and shared": wrapped(),
        "degenerate": degenerates(),
        "asked for by kind": asked_for(),
        "of the literature": literature(),
        "held back": held_back(),
        "held back again": held_back_again(),
        "not units": negatives(),
        "not asked for": not_asked_for(),
    }.items():
        good = bad = gone = models = 0
        for case in cases:
            models += 1
            asked = case.kind if case.units and case.kind in ONLY_ASKED_FOR else None
            found = find_units(case.model, *case.args, kind=asked, **case.kwargs)
            ok = [unit for unit in found if unit.degenerate == case.degenerate]
            good += min(len(ok), case.units)
            bad += len(found) - min(len(ok), case.units)
            gone += max(case.units - len(ok), 0)
            right.update(unit.kind for unit in ok[: case.units])
            wrong.update(unit.kind for unit in found if unit not in ok[: case.units])
            missed.update([case.kind or "softmax"] * max(case.units - len(ok), 0))
            if len(ok) == 1 and case.kernels is not None:
                known += 1
                kernels += ok[0].kernels == case.kernels
            if len(ok) != case.units or len(found) != case.units:
                print(f"  {case.name}: {case.units} expected, got\n{found}")
        print(f"{kind:20} {models:3} models, {good:3} units found, {gone} missed, {bad} wrong")
    for kind in [*(one for one in KINDS if right[one] + wrong[one] + missed[one]), ""]:
        good, bad, gone = (
            counts[kind] if kind else counts.total() for counts in (right, wrong, missed)
        )
        print(f"{kind or 'all':20} precision {good}/{good + bad}, recall {good}/{good + gone}")
    print(f"kernels right in {kernels} of {known}")


if __name__ == "__main__":
    main()
