"""Batches that are measured side by side: the same numbers, or the model goes on alone."""

import threading
from contextlib import suppress
from copy import copy, deepcopy

import pytest
import torch
import xarray as xr
from torch.overrides import TorchFunctionMode

import skviz
from skviz.errors import DataError
from skviz.studies import replicas, sweeps
from tests import zoo

TWO = {"scales": [0.5, 1.0], "batch": 1, "device": "cpu", "progress": False}


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def scenes(few):
    return skviz.place(few[:2], canvas=32)


def in_turn(model, scenes, **options):
    """The same on one thread, by nobody but the model."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return skviz.sweep(model, scenes, **TWO | options)
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def ran(monkeypatch):
    """Which models measured, and in which threads, on how many threads of PyTorch's."""
    seen, meeting = set(), threading.Barrier(2)
    inner = sweeps.Weights.run

    def noted(self, model, batch):
        seen.add((model, threading.get_ident(), torch.get_num_threads()))
        if len(batch.study.replicas) == 2:
            with suppress(threading.BrokenBarrierError):
                meeting.wait(5)  # so that, on a busy machine, one does not do it all
        return inner(self, model, batch)

    monkeypatch.setattr(sweeps.Weights, "run", noted)
    return seen


def test_batches_are_measured_side_by_side_with_the_same_numbers(small_net, scenes, ran):
    expected = in_turn(small_net, scenes)
    ran.clear()
    xr.testing.assert_identical(skviz.sweep(small_net, scenes, **TWO), expected)
    assert len({model for model, _, _ in ran}) == 2
    assert {threads for _, _, threads in ran} == {1}
    assert threading.get_ident() not in {thread for _, thread, _ in ran}
    assert torch.get_num_threads() == 2
    own, other = {model for model, _, _ in ran}
    for one, same in zip(own.parameters(), other.parameters(), strict=True):
        assert one is same, "parameters are not held twice"


def test_one_batch_needs_no_copy_and_keeps_all_threads(small_net, scenes, ran):
    skviz.sweep(small_net, scenes[:1], **TWO | {"scales": [1.0]})
    ((model, _, threads),) = ran
    assert model is small_net
    assert threads == 2


class Around(torch.nn.Module):
    """A network inside another module."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        return self.inner(images)


class NotCopied(Around):
    def __deepcopy__(self, memo):
        raise TypeError("I am one of a kind")


class CopiedWrongly(Around):
    """Its copy has another threshold, as one has that is made anew."""

    gain = 1.0

    def __deepcopy__(self, memo):
        made = copy(self)
        made.gain = 0.5
        return made

    def forward(self, images):
        return self.inner(self.gain * images)


class Enclosed(Around):
    """Its forward pass holds the first network for ever, and so does that of a copy."""

    def __init__(self, inner):
        super().__init__(inner)
        self.run = lambda images: inner(images)

    def forward(self, images):
        return self.run(images)


class Remembers(Around):
    """Keeps what it was given in an attribute in between, so that two passes at once collide."""

    def forward(self, images):
        self.kept = images
        for _ in range(3):
            torch.linalg.eigvals(torch.rand(40, 40))  # others may run meanwhile
        return self.inner(self.kept)


class Outside(Around):
    """Keeps it where all copies do, though copied well."""

    kept = None

    def forward(self, images):
        Outside.kept = images
        for _ in range(3):
            torch.linalg.eigvals(torch.rand(40, 40))
        return self.inner(Outside.kept)


@pytest.mark.parametrize(
    ("kind", "count"),
    [(NotCopied, 1), (CopiedWrongly, 1), (Enclosed, 1), (Outside, 1), (Remembers, 2)],
)
def test_a_model_that_no_copy_is_like_goes_on_alone(small_net, scenes, ran, kind, count):
    model = kind(deepcopy(small_net))
    expected = in_turn(model, scenes)
    ran.clear()
    found = skviz.sweep(model, scenes, **TWO)
    xr.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert len({one for one, _, _ in ran}) == count


class Doubled(TorchFunctionMode):
    """Doubles what is shown to the first convolution."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.conv2d and args[0].shape[1] == 3:
            args = (2 * args[0], *args[1:])
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("around", ["mode", "hook", "intervene", "record", "autocast"])
def test_what_is_around_this_thread_is_not_lost(small_net, scenes, around):
    """Contexts hold in their own thread, so nothing may be measured in another one."""
    first = skviz.find_units(small_net, torch.rand(1, 3, 32, 32))[0]
    context = {
        "mode": Doubled,
        "hook": lambda: small_net.stem.register_forward_hook(lambda _m, _i, out: 2 * out),
        "intervene": lambda: skviz.intervene(small_net, {first.name: skviz.force(kernel=3)}),
        "record": lambda: skviz.record(small_net),
        "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    }[around]
    usual = skviz.sweep(small_net, scenes, **TWO)
    with context() as entered:
        expected = in_turn(small_net, scenes)
        before = getattr(entered, "forwards", None)
        found = skviz.sweep(small_net, scenes, **TWO)
    if around == "record":
        assert entered.forwards >= before + 4, "the passes of the study are heard"
    else:
        assert float(abs(found["weight"] - usual["weight"]).max()) > 1e-4
    xr.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_functions_of_somebodys_own_are_asked_in_turn(small_net, scenes):
    threads = []

    def remember(weights):
        threads.append(threading.get_ident())
        return weights

    options = TWO | {"units": small_net_unit(small_net)}
    skviz.effect(small_net, scenes, {"mine": remember}, **options)
    assert set(threads) == {threading.get_ident()}
    forced = {"3×3": skviz.force(kernel=3)}
    found = skviz.effect(small_net, scenes, forced, **options)
    torch.set_num_threads(1)
    xr.testing.assert_identical(skviz.effect(small_net, scenes, forced, **options), found)


def small_net_unit(model):
    return skviz.find_units(model, torch.rand(1, 3, 32, 32))[0].name


def test_receptive_fields_are_the_same_side_by_side(small_net, scenes):
    options = TWO | {"scales": [1.0], "draws": 2}
    found = skviz.receptive_field(small_net, scenes, **options)
    torch.set_num_threads(1)
    xr.testing.assert_identical(skviz.receptive_field(small_net, scenes, **options), found)


def test_what_fails_ends_it_and_all_threads_are_given_back(small_net):
    done = []

    def do(_model, item):
        if item == 3:
            raise DataError("the third")
        done.append(item)
        return item

    stream = replicas.side_by_side(do, range(10), [small_net, small_net])
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError, match="the third"):
        next(stream)
    assert torch.get_num_threads() == 2
    assert len(done) < 9, "what was not begun is left"
    stream = replicas.side_by_side(do, range(3), [small_net])
    assert next(stream) == 0
    stream.close()
    assert torch.get_num_threads() == 2


@pytest.mark.long
def test_every_way_of_writing_a_unit_is_measured_side_by_side():
    """All that can be swept: the bits of two threads are those of one, and copies were used."""
    used = []
    inner = replicas.replicate

    def noted(*arguments):
        used.append(len(inner(*arguments)))
        return inner(*arguments)

    count = 0
    for case in [*zoo.positives(), *zoo.wrapped(), *zoo.literature()]:
        (first, *more) = case.args
        if more or case.kwargs or not isinstance(first, torch.Tensor) or first.dim() != 4:
            continue
        images = torch.rand(4, *first.shape[1:])
        options = {"batch": 2, "device": "cpu", "progress": False}
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(replicas, "replicate", noted)
                try:
                    found.append(skviz.sweep(case.model.eval(), images, **options))
                except skviz.SkvizError as refused:
                    found.append(str(refused))
        if isinstance(found[0], str):
            assert found[0] == found[1], case.name
        else:
            assert used[-1] == 2, case.name
            xr.testing.assert_identical(*found)
            count += 1
    assert count > 80
