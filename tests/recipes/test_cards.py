"""The shipped card of `objects` against a part of what its command measures."""

import re

import pytest

import skviz
from recipes import cards
from recipes.train_objects import RECIPES
from skviz import assets, stats
from skviz.scenes import cutouts

CARD = (assets.data_folder() / "models" / "objects.md").read_text(encoding="utf-8")


def test_photographed_backgrounds(monkeypatch):
    monkeypatch.setattr(cards, "SCALES", (0.5, 2.0))
    model = skviz.load("objects")
    found = cards.evaluate(model, cutouts.HELD_OUT_FAMILIES, 96, real=True)
    row = next(line for line in CARD.splitlines() if line.startswith("| held-out families, photog"))
    said = [float(cell) for cell in row.split("|")[2:-1]]
    expected = 100 * found["correct"].mean("image").to_numpy()
    assert [said[0], said[-1]] == pytest.approx(expected.tolist(), abs=0.3)
    shifts = stats.shift(found)["estimate"]
    for unit in found["unit"].values:
        cells = re.search(rf"^\| {re.escape(unit)} \|(.*)\|$", CARD, re.MULTILINE)[1].split("|")
        assert float(cells[4]) == pytest.approx(float(shifts.sel(unit=unit)), abs=0.00056)


def test_what_it_calls_photographs():
    assert cards.photographs(skviz.load("objects"), RECIPES["objects"]) in CARD
