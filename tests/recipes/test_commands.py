"""``python -m recipes``."""

from dataclasses import replace

import skviz
from recipes import __main__ as recipes_main, cards, train, train_objects
from tests.processes import TINY


def test_what_is_missing_is_named(tmp_path, capsys):
    assert recipes_main.main(["population", "--photographs", str(tmp_path)]) == 1
    assert "does not hold the categories of Caltech-101" in capsys.readouterr().err


def test_train_writes_weights_card_and_log(tmp_path, monkeypatch, capsys):
    tiny = replace(TINY, name="objects", steps=2)
    monkeypatch.setitem(train_objects.RECIPES, "objects", tiny)
    monkeypatch.setattr(
        cards, "write_card", lambda model, recipe: f"{recipe.name} {model.card.name}"
    )
    run, out = tmp_path / "runs", tmp_path / "models"
    words = [
        "train",
        "objects",
        "--run",
        str(run),
        "--out",
        str(out),
        "--float32",
        "--device",
        "cpu",
    ]
    assert recipes_main.main(words) == 0
    assert (out / "objects.md").read_text() == "objects objects"
    assert skviz.load(out / "objects.safetensors").card.categories == tiny.categories
    assert (run / "objects/training.pdf").exists()
    assert "training.pdf" in capsys.readouterr().out
    # Of several processes only the first writes.
    monkeypatch.setattr(train, "world", lambda: (1, 2))
    monkeypatch.setattr(train, "train", lambda *_, **__: None)
    assert recipes_main.main(["train", "objects", "--out", str(tmp_path / "nothing")]) == 0
    assert not (tmp_path / "nothing").exists()
