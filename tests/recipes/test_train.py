import json
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from recipes import plot_training, train, train_objects
from skviz.errors import ModelError
from tests.processes import TINY

ROOT = Path(__file__).parents[2]


def test_a_stopped_run_ends_with_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 2)
    whole = train.train(TINY, tmp_path / "whole", bfloat16=False, progress=False)

    def stop(studio, step, share):
        if step == 5:
            raise KeyboardInterrupt
        return scenes(studio, step, share)

    scenes = train_objects.training_scenes
    monkeypatch.setattr(train_objects, "training_scenes", stop)
    with pytest.raises(KeyboardInterrupt):
        train.train(TINY, tmp_path / "parts", bfloat16=False, progress=False)
    monkeypatch.setattr(train_objects, "training_scenes", scenes)
    parts = train.train(TINY, tmp_path / "parts", bfloat16=False, progress=False)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    for run in ("whole", "parts"):
        assert train.log(tmp_path / run)["step"].values.tolist() == [2, 4, 6]
    assert (tmp_path / "whole/log.jsonl").read_text() == (tmp_path / "parts/log.jsonl").read_text()


def test_training_fits_its_scenes(tmp_path, monkeypatch):
    """With the same few scenes at every step the loss must fall far."""
    scenes = train_objects.training_scenes
    monkeypatch.setattr(train_objects, "training_scenes", lambda studio, *_: scenes(studio, 0))
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 1)
    wanted = replace(TINY, steps=40, batch=8, learning_rate=1e-2, label_smoothing=0.0)
    train.train(wanted, tmp_path, bfloat16=False, progress=False)
    log = train.log(tmp_path)
    assert log["loss"][0] > 3.5
    assert log["loss"][-1] < 0.3 * log["loss"][0]
    assert log["accuracy"][-1] > log["accuracy"][0]


def test_the_log_holds_means_and_rates_and_can_be_drawn(tmp_path, monkeypatch):
    train.train(TINY, tmp_path / "each", bfloat16=False, progress=False)
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 1)
    train.train(TINY, tmp_path / "every", bfloat16=False, progress=False)
    once, every = train.log(tmp_path / "each"), train.log(tmp_path / "every")
    assert once["step"].values.tolist() == [6]
    for name in ("loss", "accuracy"):
        assert float(once[name][0]) == pytest.approx(float(every[name].mean()), rel=1e-5)
    rates = every["learning_rate"].values.tolist()
    assert rates.index(max(rates)) == 1  # one cycle peaks at 0.3 of its steps
    assert max(rates) == pytest.approx(TINY.learning_rate, rel=0.02)
    made = plot_training.training(every)
    drawn = [ax.lines[0].get_ydata().tolist() for ax in made.axes]
    assert drawn == [every[n].values.tolist() for n in ("loss", "accuracy", "learning_rate")]
    with pytest.raises(ModelError, match="no log"):
        train.log(tmp_path / "nothing")


def parameters(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoint.pt", weights_only=True)["network"]


@pytest.mark.long
def test_two_processes_average_the_gradients_of_their_shares(tmp_path):
    """Against the same done by hand: two copies, their gradients averaged, one optimizer."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, "-m", "tests.processes", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    network = train.make_network(TINY).train()
    optimizer = torch.optim.AdamW(
        network.parameters(), TINY.learning_rate, weight_decay=TINY.weight_decay
    )
    schedule, batches = TINY.schedule(optimizer), TINY.batches(torch.device("cpu"))
    for step in range(6):
        gradients = []
        for number in (1, 0):  # the first process has the last word on batch-norm statistics
            copy = deepcopy(network)
            images, labels = batches(step, slice(number, None, 2))
            F.cross_entropy(copy(images), labels, label_smoothing=0.1).backward()
            gradients.append([p.grad for p in copy.parameters()])
        network.load_state_dict(copy.state_dict())
        for p, one, other in zip(network.parameters(), *gradients, strict=True):
            p.grad = (one + other) / 2
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    for name, value in parameters(tmp_path / "whole").items():
        torch.testing.assert_close(value, network.state_dict()[name], atol=2e-4, rtol=1e-3)
    # Stopped and resumed: the same bits, and one log.
    (last,) = (tmp_path / "stopped.jsonl").read_text().splitlines()
    assert json.loads(last)["step"] == 2
    assert all(
        torch.equal(value, parameters(tmp_path / "parts")[name])
        for name, value in parameters(tmp_path / "whole").items()
    )
    assert train.log(tmp_path / "parts").identical(train.log(tmp_path / "whole"))


def test_a_torn_log_is_read_up_to_the_tear(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 2)
    train.train(TINY, tmp_path / "whole", bfloat16=False, progress=False)
    train.train(replace(TINY, steps=6), tmp_path / "torn", bfloat16=False, progress=False)
    path = tmp_path / "torn/log.jsonl"
    path.write_text(path.read_text()[:-30])
    assert train.log(tmp_path / "torn")["step"].values.tolist() == [2, 4]


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(train, "world", lambda: (0, 3))
    with pytest.raises(ModelError, match="3 processes cannot share batches of 4"):
        train.train(TINY, tmp_path, where="cpu", progress=False)


def test_a_run_of_another_recipe_is_refused(tmp_path):
    train.train(replace(TINY, steps=1), tmp_path, progress=False)
    with pytest.raises(ModelError, match="another recipe"):
        train.train(replace(TINY, steps=2), tmp_path, progress=False)
    with pytest.raises(ModelError, match="bfloat16=True"):
        train.train(replace(TINY, steps=1), tmp_path, bfloat16=False, progress=False)
