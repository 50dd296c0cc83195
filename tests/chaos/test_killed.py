"""Studies that are killed with SIGKILL. SKVIZ_KILLS=20 makes more of it."""

import filecmp
import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files with the same bytes."""
    names = [sorted(p.relative_to(r) for p in r.rglob("*") if p.is_file()) for r in (one, other)]
    return names[0] == names[1] and not any(
        filecmp.cmpfiles(one, other, map(str, names[0]), shallow=False)[1:]
    )


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    folder = tmp_path_factory.mktemp("chaos")
    kills = os.environ.get("SKVIZ_KILLS", "4")
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.killed", str(folder), kills],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_the_result_is_that_of_an_undisturbed_run(attempts):
    folder, runs = attempts
    assert sum(run["killed"] for run in runs) >= 4
    assert not any(run["failed"] for run in runs)
    finished = {run["store"] for run in runs if run["left"] == []}
    assert finished == {run["store"] for run in runs}
    for name in finished:
        assert same(folder / "whole.zarr", folder / name), name


def test_no_finished_task_is_computed_twice(attempts):
    _, runs = attempts
    assert Counter(runs[0]["computed"]) == Counter(range(15))
    assert any(run["left"] and len(run["left"]) < 15 for run in runs)  # killed in the middle
    for before, run in pairwise(runs):
        if run["store"] != before["store"] or before["left"] is None:
            continue
        assert set(run["computed"]) <= set(before["left"])
        assert max(Counter(run["computed"]).values(), default=1) == 1
