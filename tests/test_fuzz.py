"""A share of `python -m tests.fuzz`: only right answers and clean refusals, at every entrance."""

import pytest

from skviz.errors import SkvizError
from tests.fuzz import judge
from tests.fuzz.__main__ import ENTRANCES, tried
from tests.fuzz.judge import Case

SHARE = 0.1
SLOWER = {"toml": 0.05, "calls": 0.1, "names": 0.5}  # others than a tenth


@pytest.mark.long
@pytest.mark.parametrize("name", ENTRANCES)
def test_hostile_input_is_answered_or_refused(name, capsys):
    found = tried(name, SLOWER.get(name, SHARE), 1)
    assert set(found) == {"clean"}, capsys.readouterr().out


def refuse(why):
    raise SkvizError(why)


def forever():
    while True:
        pass


@pytest.mark.parametrize(
    ("case", "how"),
    [
        (Case("", lambda: 3, lambda answer: answer == 3), "clean"),
        (Case("", lambda: refuse("what and why"), said="why"), "clean"),
        (Case("", lambda: 3, lambda answer: answer == 4), "silent"),
        (Case("", lambda: 3), "silent"),
        (Case("", lambda: refuse("what and why"), bool, refusable=False), "silent"),
        (Case("", lambda: 1 / 0), "raw"),
        (Case("", lambda: refuse("what and why"), said="where"), "raw"),
        (Case("", forever), "hang"),
    ],
)
def test_the_judge_tells_them_apart(case, how, monkeypatch):
    monkeypatch.setattr(judge, "LIMIT", 0.2)
    assert judge.ending(case)[0] == how
