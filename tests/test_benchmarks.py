"""The command that watches for what has become slower; what it measures is not timed here."""

import importlib.util
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def watched(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("watched", FOLDER / "watched.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("now", "slower"),
    [
        ([0.98, 1.0, 1.02], False),
        ([0.90, 0.91, 0.92], False),  # not a tenth
        ([0.80, 0.85, 0.90], True),
        ([0.60, 0.85, 1.10], False),  # noise of this run
        ([1.9, 2.0, 2.1], False),
    ],
)
def test_slower_is_a_tenth_and_more_than_noise(watched, now, slower):
    assert watched.worse(now, [0.95, 1.0, 1.05]) is slower


def test_the_command_ends_with_one_where_something_is_slower_or_gone(
    watched, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(watched, "TABLE", tmp_path / "t.json")
    monkeypatch.setattr("sys.argv", ["watched", "--write"])
    monkeypatch.setattr(watched, "measured", lambda _: {"a": [1, 2, 3], "b": [1, 1, 1]})
    watched.main()
    monkeypatch.setattr("sys.argv", ["watched"])
    watched.main()
    for found in ({"a": [1, 2, 3], "b": [0.7, 0.8, 0.85]}, {"a": [1, 2, 3]}):
        monkeypatch.setattr(watched, "measured", lambda _, found=found: found)
        with pytest.raises(SystemExit, match="1 are slower"):
            watched.main()
        (line,) = (line for line in capsys.readouterr().out.splitlines() if "slower" in line)
        assert line.startswith("b")


def test_the_table_is_of_what_is_measured(watched):
    names = set(json.loads(watched.TABLE.read_text())["ratios"])
    assert {name.partition(":")[0].partition(",")[0].partition(" ")[0] for name in names} == {
        "unit", "recording", "attribution", "study"}  # fmt: skip
    assert len(names) > 20
