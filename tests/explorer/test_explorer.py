"""The explorer from Python; what a hand does with it is in tests/browser."""

import base64
import gzip
import io
import json
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image

import skviz
from skviz.capture import Unit
from skviz.errors import SkvizError, UnitError
from skviz.explorer import code
from skviz.explorer.attributions import QUICK
from skviz.explorer.grid import Subject, frame, renderable
from skviz.explorer.items import Setting, items
from skviz.explorer.live import chosen, packed
from skviz.explorer.worker import Worker
from skviz.scenes.changes import CONTROL_SCENES

SCALES = [0.5, 1.0, 1.5]


@pytest.fixture
def explorer(small_net, few):
    made = skviz.explore(small_net, few, scales=SCALES, canvas=32)
    made.wait()
    yield made
    made.close()


def test_the_grid_is_what_a_sweep_measures(explorer, small_net, few):
    explorer.item = few.ids[3]
    explorer.wait()
    ds = skviz.sweep(small_net, skviz.place(few, canvas=32)[3:4], scales=SCALES, progress=False)
    xr.testing.assert_allclose(explorer.ds["weight"], ds["weight"], atol=1e-5)
    assert set(explorer.ds["unit_of"].values) == set(ds["unit_of"].values)
    np.testing.assert_array_equal(explorer.ds["thumbnail"], ds["thumbnail"])
    np.testing.assert_array_equal(explorer.ds["prediction"], ds["prediction"])


def test_a_scale_at_the_limit_is_shown_however_it_was_rounded(few):
    scenes = skviz.place(few, canvas=32)[:1]
    low, high = scenes.ready().bounds
    near = [low * (1 - 5e-7), 1.0, high * (1 + 5e-7)]
    assert renderable(scenes, [low * (1 - 5e-6), *near, high * (1 + 5e-6)]) == near


@pytest.mark.parametrize(
    "setting",
    [
        Setting(),
        Setting(background="forest", position=(0.0625, -0.03125)),
        Setting(background="procedural 3"),
        Setting("zoom", background="forest"),
    ],
)
def test_the_python_of_an_item_makes_the_same_scenes(few, setting):
    pictures = skviz.photographs()
    for item in (items(few)[2], items(pictures["coffee"])[0]):
        scenes = item.scenes(setting, 32)
        names = {"skviz": skviz}
        exec(item.python(scenes), names)
        scale = 1.0 if setting.protocol == "zoom" else 0.75
        torch.testing.assert_close(
            names["scenes"].render(scale), scenes.render(scale), atol=1e-6, rtol=0
        )


def test_interventions_on_all_units_and_on_one(explorer):
    def weights(name):
        return skviz.stats.channels(explorer.ds, name).values

    free = weights("stage2.0.sk")
    explorer.intervention = "5×5"
    explorer.wait()
    assert (weights("stage1.0.sk")[..., 1, :] == 1).all()
    assert (weights("stage2.0.sk")[..., 1, :] == 1).all()
    explorer.intervention, explorer.only = "7×7", "stage2.0.sk"
    explorer.wait()
    assert (weights("stage2.0.sk")[..., 2, :] == 1).all()
    explorer.intervention, explorer.only = "uniform", "stage1.0.sk"
    explorer.wait()
    assert (weights("stage1.0.sk") == 0.5).all()
    assert not np.array_equal(weights("stage2.0.sk"), free)  # what comes after it sees the change
    explorer.intervention = "7×7"
    with pytest.raises(SkvizError, match=r"stage1\.0\.sk can be made '7×7'"):
        explorer.wait()


def test_scales_at_which_the_object_would_leave_the_canvas_are_left_out(explorer):
    explorer.position = [0.25, 0.0]
    explorer.wait()
    assert explorer.grid["scales"] == [0.5, 1.0]
    explorer.position = [0.7, 0.0]
    with pytest.raises(SkvizError, match="off the canvas"):
        explorer.wait()
    assert "off the canvas" in explorer.problem


def test_zoom_starts_at_one(explorer):
    explorer.protocol = "zoom"
    explorer.wait()
    assert explorer.grid["scales"] == [1.0, 1.5]
    assert explorer.grid["frame"] is None


def test_attributions_are_those_of_attribute(explorer, small_net, few):
    explorer.target, explorer.method = "unit", "input_x_gradient"
    explorer.wait()
    maps = np.frombuffer(explorer.maps["maps"], np.int8).reshape(3, 32, 32)
    ds = skviz.attribute(
        small_net,
        skviz.place(few, canvas=32)[:1],
        target=skviz.target.difference(explorer.unit),
        method="input_x_gradient",
        scales=SCALES,
        progress=False,
    ).isel(target=0, image=0)
    limit = explorer.maps["limit"]
    expected = np.clip(ds["attribution"].values, -limit, limit)
    np.testing.assert_allclose(maps * (limit / 127), expected, atol=0.6 * limit / 127)
    np.testing.assert_allclose(explorer.maps["inside"], ds["inside"], atol=1e-5)
    explorer.method = ""
    assert explorer.maps == {}


def test_a_long_computation_can_be_cancelled(small_net, few):
    class Slow(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = small_net

        def forward(self, images):
            time.sleep(0.2)
            return self.net(images)

    scales = np.linspace(0.5, 1.5, 60).tolist()
    explorer = skviz.explore(Slow(), few, scales=scales, canvas=96)
    assert explorer.grid == {}  # and yet it is back
    assert 0 <= explorer.progress < 1
    explorer._receive(None, {"kind": "cancel"}, [])
    assert explorer.wait(5)
    assert (explorer.grid, explorer.progress) == ({}, 1.0)
    with pytest.raises(SkvizError, match="nothing is measured yet"):
        explorer.figure()
    explorer._receive(None, {"kind": "compute"}, [])
    explorer.wait()
    assert len(explorer.grid["scales"]) == 60


def test_off_the_grid_the_latest_question_is_answered(explorer, monkeypatch):
    sent = []
    monkeypatch.setattr(explorer, "send", lambda content, _=None: sent.append(content))
    setting = dict(explorer.grid["setting"])
    for number in range(50):
        ask = setting | {"position": [0.0, number / 1000]}
        explorer._receive(None, {"kind": "point", "number": number, "scale": 1, "setting": ask}, [])
    explorer.wait()
    answered = [content["number"] for content in sent if content["kind"] == "point"]
    assert answered == sorted(answered)
    assert answered[-1] == 49
    assert len(answered) < 50


def test_a_figure_stands_in_where_no_javascript_runs(explorer):
    bundle, _ = explorer._repr_mimebundle_()
    picture = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    assert picture.width > 600
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_it_is_an_ipywidget(explorer):
    seen = []
    explorer.observe(lambda change: seen.append(change["new"]), "scale")
    explorer.scale = 1.5
    assert seen == [1.5]
    state = explorer.get_state()
    assert {"scale", "unit", "grid", "_esm"} <= set(state)


def test_wrong_wishes_are_refused(explorer, small_net, few):
    for name in ("item", "background", "network", "method", "target"):
        with pytest.raises(SkvizError, match=f"there is no {name} 'nothing'; there are"):
            setattr(explorer, name, "nothing")
    with pytest.raises(SkvizError, match="increasing"):
        skviz.explore(small_net, few, scales=[1.0, 0.5])
    with pytest.raises(SkvizError, match="nothing to explore"):
        skviz.explore({}, few)
    with pytest.raises(SkvizError, match=r"model must be Module"):
        skviz.explore("objects", few)
    with pytest.raises(UnitError, match="no Selective-Kernel unit"):
        skviz.explore(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 2)), few,
                      scales=[1.0], canvas=32).wait()  # fmt: skip
    with pytest.raises(SkvizError, match=r"must be one of \.html, \.pdf"):
        explorer.save("page.txt")


def test_the_page_holds_what_was_measured(explorer, tmp_path):
    text = explorer.save(tmp_path / "new" / "page.html").read_text()
    assert not re.search(r"(src|href)=.?https?:", text)
    state = json.loads(re.search(r'id="state">(.*?)</script>', text, re.DOTALL)[1])
    weights = gzip.decompress(base64.b64decode(state["grid"]["weights"]["gzip"]))
    assert weights == explorer.grid["weights"]
    program = [*state["grid"]["code"], f'ds["weight"].sel(scale=1.0, unit="{explorer.unit}")']
    assert "\n".join(program) == explorer.python


def test_nothing_is_taken_away_of_another_moment(explorer, few, tmp_path, monkeypatch):
    old = explorer.ds["weight"].copy()
    monkeypatch.setattr(explorer._worker, "submit", lambda *_: None)  # a slow model
    explorer.item = few.ids[3]
    for take in (
        explorer.figure,
        lambda: explorer.ds,
        lambda: explorer.python,
        lambda: explorer.save(tmp_path / "page.html"),
    ):
        with pytest.raises(SkvizError, match=f"is of item '{few.ids[0]}', which is not what is"):
            take()
    assert "image/png" not in explorer._repr_mimebundle_()[0]
    assert list(tmp_path.iterdir()) == []
    explorer.item = few.ids[0]
    xr.testing.assert_equal(explorer.ds["weight"], old)


def test_an_error_says_what_it_is_about_and_is_over_when_asked_again(small_net, few):
    class Moody(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.broken = small_net, False

        def forward(self, images):
            if self.broken:
                raise RuntimeError("out of memory")
            return self.net(images)

    model = Moody()
    explorer = skviz.explore(model, few, scales=SCALES, canvas=32)
    explorer.wait()
    grid = explorer.grid
    model.broken = True
    explorer.item = few.ids[1]
    with pytest.raises(RuntimeError, match="out of memory"):
        explorer.wait()
    assert explorer.failure["setting"]["item"] == few.ids[1]
    assert explorer.problem == "RuntimeError: out of memory"
    assert explorer.grid is grid  # of the first object, and it says so
    assert explorer.grid["setting"]["item"] == few.ids[0]
    with pytest.raises(SkvizError, match="RuntimeError: out of memory"):
        explorer.figure()
    ask = {"setting": explorer.failure["setting"], "scale": 0.7, "kind": "point", "number": 3}
    explorer._receive(None, ask, [])
    with pytest.raises(RuntimeError):
        explorer.wait()
    assert (explorer.failure["number"], explorer.failure["scale"]) == (3, 0.7)
    model.broken = False
    explorer._receive(None, {"kind": "compute"}, [])
    explorer.wait()
    assert (explorer.problem, explorer.grid["setting"]["item"]) == ("", few.ids[1])
    explorer.close()


def test_the_browser_hears_of_every_question_before_it_is_computed(explorer, few, monkeypatch):
    sent = []
    monkeypatch.setattr(explorer, "send", lambda content, _=None: sent.append(content["kind"]))
    monkeypatch.setattr(explorer._worker, "submit", lambda *_: None)
    explorer.item = few.ids[1]
    explorer.method = "saliency"
    explorer._receive(None, {"kind": "compute"}, [])
    assert sent == ["heard", "heard", "heard", "heard"]  # the last is told twice


def test_a_map_that_does_not_add_up_says_so_and_can_be_refined(explorer, monkeypatch):
    monkeypatch.setitem(QUICK, "integrated_gradients", {"steps": 1})
    explorer.method = "integrated_gradients"
    explorer.wait()
    assert (np.array(explorer.maps["completeness_error"]) > 0.05).any()
    ok = [error <= 0.05 for error in explorer.maps["completeness_error"]]
    assert (explorer.maps["complete"], explorer.maps["refined"]) == (ok, False)
    explorer._receive(None, {"kind": "refine"}, [])
    explorer.wait()
    assert (explorer.maps["complete"], explorer.maps["refined"]) == ([True] * 3, True)
    explorer.method = "saliency"  # adds up to nothing, and does not claim to
    explorer.wait()
    assert explorer.maps["complete"] == [True] * 3


def test_maps_that_are_no_longer_asked_for_are_neither_kept_nor_written_down(explorer, monkeypatch):
    explorer.method = "saliency"
    explorer.wait()
    assert "method='saliency'" in explorer.python
    with monkeypatch.context() as slow:
        slow.setattr(explorer._worker, "submit", lambda *_: None)
        explorer.method = "input_x_gradient"
        assert "attribute" not in explorer.python
    started, go = threading.Event(), threading.Event()

    def maps(*_, **__):
        started.set()
        go.wait(5)
        yield 0.5, {"maps": b"", "method": "smoothgrad"}
        raise AssertionError("nobody asks for the next scale")

    monkeypatch.setattr("skviz.explorer.model.explained", maps)
    explorer.method = "smoothgrad"
    assert started.wait(5)
    explorer.method = ""
    go.set()
    assert explorer.wait(5)
    assert (explorer.maps, explorer.progress, explorer.problem) == ({}, 1.0, "")
    assert "attribute" not in explorer.python


def test_maps_come_from_the_scale_under_the_hand_outwards(explorer):
    seen = []
    explorer.observe(lambda change: seen.append(change["new"]["scales"]), "maps")
    explorer.scale = 1.5
    explorer.method = "saliency"
    explorer.wait()
    assert seen == [[1.5], [1.0, 1.5], [0.5, 1.0, 1.5]]


def test_colours_of_a_map_reach_to_the_largest_values_but_the_few(explorer):
    explorer.method = "saliency"
    explorer.wait()
    maps, limit = np.frombuffer(explorer.maps["maps"], np.int8), explorer.maps["limit"]
    assert 0.004 < (np.abs(maps) == 127).mean() < 0.03  # as many as are clipped, and those near
    ds = skviz.attribute(
        explorer._model.networks["SKNet"],
        explorer._model.view(explorer._setting).scenes,
        target="predicted",
        method="saliency",
        scales=SCALES,
        progress=False,
    )
    values = np.sort(np.abs(ds["attribution"].values).ravel())
    assert values[int(0.994 * len(values))] < limit < values[int(0.996 * len(values))]


def test_the_frame_ends_where_the_object_ends(few):
    """Against the difference between the scene with and without its object."""
    setting = Setting(position=(0.0625, -0.03125))
    rgba = few.rgba.clone()  # of each object only its right, and not its lowest quarter
    side = rgba.shape[-1]
    rgba[..., : side // 2] = 0
    rgba[..., 3 * side // 4 :, :] = 0
    for item in items(replace(few, rgba=rgba))[:3]:
        scenes = item.scenes(setting, 64)
        (cy, cx), before, after = frame(scenes)
        for scale in (0.5, 1.0):
            changed = (scenes.render(scale)[0] - scenes.layers.backgrounds[0]).abs().amax(0) > 0.02
            for axis, middle in ((1, cy), (0, cx)):
                at = changed.any(axis).nonzero()
                low, high = int(at.min()), int(at.max()) + 1
                assert low == pytest.approx(middle - before[1 - axis] * scale, abs=1.2)
                assert high == pytest.approx(middle + after[1 - axis] * scale, abs=1.2)


@pytest.mark.parametrize(
    ("kernels", "largest"), [((3, 5), 1), ((7, 3), 0), ((3, 9, 5), 1), (None, 2)]
)
def test_the_largest_kernel_is_the_largest(kernels, largest):
    branches = 3 if kernels is None else len(kernels)
    unit = Unit("u", kernels, branches, channels=8, spatial=False, calls=1, how="")
    subject = Subject(torch.nn.Identity(), (unit,), 32)
    (described,) = subject.described()
    assert described["largest"] == largest
    assert len(described["branches"]) == unit.branches


def test_the_still_draws_the_smallest_scale_and_the_one_looked_at(explorer):
    explorer.scale = 1.0
    figure = explorer.figure()
    pictures = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    titles = [ax.get_title() for ax in figure.axes if ax.images]
    assert titles == ["scale 0.5", "scale 1"]
    for picture, index in zip(pictures, (0, 1), strict=True):
        np.testing.assert_array_equal(picture, explorer.ds["thumbnail"][0, index])
    assert not np.array_equal(*pictures)
    bars = next(ax for ax in figure.axes if ax.patches and not ax.images)
    weight = explorer.ds["weight"].isel(image=0)
    widths = [bar.get_width() for bar in bars.patches][: weight.sizes["unit"]]
    np.testing.assert_allclose(widths, weight.isel(scale=1, branch=0), atol=1e-9)
    (marks,) = [line for line in bars.collections if "0.5" in str(line.get_label())]
    first = [path.vertices[0, 0] for path in marks.get_paths()]
    np.testing.assert_allclose(first, weight.isel(scale=0, branch=0), atol=1e-9)


def test_a_hand_that_moves_on_while_a_still_is_drawn_is_no_failure(explorer, few, monkeypatch):
    """The still is kept by the worker's thread, and what is asked for changes in another."""
    drawn = explorer._drawn

    def slowly(view):
        explorer.item = few.ids[2] if explorer.item == few.ids[0] else explorer.item
        return drawn(view)

    monkeypatch.setattr(explorer, "_drawn", slowly)
    explorer._stills = [handle := Handle()]
    explorer._later(explorer._keep())
    assert explorer.wait(60)
    assert explorer.failure == {}
    assert explorer.item == few.ids[2]
    assert len(handle.shown) == 1
    explorer._view = None  # nothing is measured: the picture is kept once there is one
    explorer._stills = [handle := Handle()]
    explorer._later(explorer._keep())
    assert explorer.wait(60)
    assert handle.shown == []
    explorer.item = few.ids[1]
    assert explorer.wait(60)
    assert len(handle.shown) == 1


class Handle:
    """An output of a notebook."""

    def __init__(self):
        self.shown = []

    def update(self, shown):
        self.shown.append(shown.data)


def test_a_worker_forgets_the_error_of_a_job_that_nobody_waits_for():
    errors: list[object] = []
    worker = Worker(("slow",), lambda asked, _: errors.append(asked))
    started, go = threading.Event(), threading.Event()

    def broken():
        started.set()
        go.wait(5)
        raise ValueError("of an object that is no longer looked at")
        yield

    worker.submit("slow", broken(), {"number": 1})
    started.wait(5)
    worker.submit("slow", iter([1]), {"number": 2})
    go.set()
    assert worker.wait(5)
    assert errors == []


def test_a_worker_runs_the_latest_of_each_kind_and_the_urgent_first():
    done: list[str] = []
    errors: list[tuple[object, str]] = []
    worker = Worker(("urgent", "slow"), lambda asked, error: errors.append((asked, str(error))))

    def job(name, steps):
        for step in range(steps):
            time.sleep(0.02)
            done.append(f"{name}{step}")
            yield

    def broken():
        raise ValueError("no")
        yield

    worker.submit("slow", job("a", 100))
    time.sleep(0.1)
    worker.submit("slow", job("b", 4))
    worker.submit("urgent", job("u", 1))
    worker.submit("urgent", broken(), {"number": 1})
    assert worker.wait(5)
    assert done[-4:] == ["b0", "b1", "b2", "b3"]
    assert len(done) < 30
    assert errors == [({"number": 1}, "no")]
    assert worker.wait()


def test_a_worker_outlives_a_model_that_leaves_and_a_failure_that_fails():
    said: list[str] = []

    def failed(asked, error):
        said.append(str(error))
        if asked:
            raise OSError("the browser is gone")

    def leaves():
        raise SystemExit(3)
        yield

    worker = Worker(("one",), failed)
    for asked in ({}, {"number": 1}, {}):
        worker.submit("one", leaves(), asked)
        assert worker.wait(5)
    assert said == ["SystemExit: 3"] * 3


def test_a_worker_is_silent_when_the_program_ends():
    """Also to those who registered for its end after it had begun, as pyzmq does."""
    code = """
import atexit, time
from skviz.explorer.worker import Worker
def job():
    while True:
        time.sleep(0.01)
        steps.append(1)
        yield
steps = []
worker = Worker(("one",), lambda *_: None)
worker.submit("one", job())
time.sleep(0.2)
def leave():
    here = len(steps)
    time.sleep(0.2)
    print(here > 3, len(steps) - here)
atexit.register(leave)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("True 0\n", "")


@pytest.mark.parametrize(
    ("setting", "asked", "message"),
    [
        ({}, {"path": "x.pdf"}, r"x\.pdf is no page that could be live"),
        ({"protocol": "zoom"}, {}, "a live page rescales objects; this view is by 'zoom'"),
        ({}, {"objects": ["noto/unicorn"]}, "there is no item 'noto/unicorn'"),
    ],
)
def test_what_cannot_be_a_live_page_is_refused(small_net, few, tmp_path, setting, asked, message):
    explorer = skviz.explore(small_net, few, scales=[1.0, 1.2], canvas=32)
    for name, value in setting.items():
        setattr(explorer, name, value)
    explorer.wait(60)
    path = tmp_path / asked.pop("path", "x.html")
    with pytest.raises(SkvizError, match=message):
        explorer.save(path, live=True, **asked)
    assert not list(tmp_path.iterdir())


def test_a_wrapped_model_that_names_no_classes(small_net, few):
    explorer = skviz.explore(skviz.wrap(small_net, canvas=32), few[:1], scales=[1.0, 1.2])
    explorer.wait(60)
    assert explorer.problem == ""
    assert explorer.grid["names"]
    assert all(name.startswith("class ") for name in explorer.grid["names"].values())


def test_a_second_picture_of_one_name_does_not_pass_for_the_first(small_net):
    explorer = skviz.explore(small_net, scales=[0.8, 1.0], canvas=32)
    mask = torch.zeros(1, 40, 40)
    mask[:, 10:30, 10:30] = 1
    explorer.add_photograph("cat", torch.rand(3, 40, 40), mask)
    explorer.wait(60)
    first = explorer.ds["weight"].copy()
    explorer.add_photograph("cat", torch.rand(3, 40, 40), mask)
    with pytest.raises(SkvizError, match="what is measured is of item 'your pictures/cat'"):
        explorer.ds  # noqa: B018 (it is not measured yet)
    explorer.wait(60)
    assert list(explorer.photographs) == ["cat", "cat 2"]
    assert explorer.item == "your pictures/cat 2"
    assert not first.equals(explorer.ds["weight"])


def test_a_live_page_keeps_backgrounds_apart_and_takes_objects_from_all(small_net):
    """A photograph may have the name of a background."""
    picture = np.full((40, 40, 3), 200, np.uint8)
    mask = np.zeros((40, 40), np.uint8)
    mask[12:28, 12:28] = 255
    scenes = skviz.photographs({"forest": (picture, mask)}).cut_out(canvas=32)
    explorer = skviz.explore(small_net, scenes, scales=SCALES)
    explorer.wait()
    told, files = packed(explorer._model, explorer._shown, 3)
    live = told["live"]
    assert live["items"][0]["background"] == "of forest"
    assert {"forest", "of forest"} <= set(live["backgrounds"])
    stored = gzip.decompress(files["packed"])
    item = live["items"][0]
    at = 4 * item["height"] * item["width"] * (2 if item["fixed"] else 1)
    pictures = np.frombuffer(stored, np.uint8)[at:].reshape(len(live["backgrounds"]), -1)
    high = dict(zip(live["backgrounds"], pictures[:, : 3 * 32 * 32], strict=True))
    assert set(high["of forest"]) == {200}  # the photograph's own, one grey
    assert high["forest"].std() > 10
    explorer.close()
    many = skviz.explore(small_net, skviz.objects(family="noto"), scales=[1.0], canvas=32)
    many.wait()
    names = list(many._model.items)
    for count in (1, 5, 67, 1000):
        found = [names.index(item.name) for item in chosen(many._model, many._shown, count)]
        assert len(found) == min(count, len(names))
        assert found[0] == 0
        gaps = np.diff([*found, len(names)])
        assert gaps.max() - gaps.min() <= 2
    many.close()
    every = skviz.explore(small_net, scales=[1.0], canvas=32)
    every.wait()
    found = chosen(every._model, every._shown, 24)
    assert len({item.category for item in found}) == 24
    assert len({item.family for item in found}) >= 4
    every.close()


def test_small_pictures_are_of_what_they_are_named_after(small_net, few):
    explorer = skviz.explore(small_net, few, scales=[1.0], canvas=32)
    explorer.wait()
    sent = []
    explorer.send = lambda content, buffers=None: sent.append((content, buffers))
    names = list(explorer._model.items)[2:0:-1]
    explorer._receive(None, {"kind": "thumbnails", "names": names}, [])
    explorer.wait()
    (content, (raw,)) = sent[-1]
    side = content["side"]
    assert (content["kind"], content["names"]) == ("thumbnails", names)
    pictures = np.frombuffer(raw, np.uint8).reshape(2, side, side, 3)
    for picture, index in zip(pictures, (2, 1), strict=True):
        scene = skviz.place(few[index], canvas=96).render(1.0)  # another filter, the same picture
        small = torch.nn.functional.interpolate(
            scene, (side, side), mode="bilinear", antialias=True
        )
        small = small[0].permute(1, 2, 0).numpy() * 255
        assert np.corrcoef(picture.ravel(), small.ravel())[0, 1] > 0.98
    assert np.corrcoef(pictures[0].ravel(), pictures[1].ravel())[0, 1] < 0.9
    explorer.close()


@pytest.mark.parametrize("control", CONTROL_SCENES)
def test_controls_can_be_looked_at_and_their_python_measures_the_same(small_net, control):
    some = skviz.objects(family="noto")[:2]
    explorer = skviz.explore(small_net, some, scales=SCALES, canvas=32)
    explorer.background, explorer.protocol = "forest", control
    explorer.wait()
    found = {"skviz": skviz, "model": small_net}
    exec("\n".join(explorer.python.splitlines()[3:-1]), found)
    xr.testing.assert_allclose(found["ds"]["weight"], explorer.ds["weight"], atol=1e-6)
    np.testing.assert_array_equal(found["ds"]["thumbnail"], explorer.ds["thumbnail"])
    explorer.protocol = "rescale"
    explorer.wait()
    assert (found["ds"]["thumbnail"] != explorer.ds["thumbnail"]).any()
    assert (frame(found["scenes"]) is None) == (control not in ("scrambled", "silhouette"))
    explorer.close()


@pytest.mark.parametrize("change", ["none", "double", "half", "weight"])
def test_only_the_shipped_network_is_called_by_its_name(change):
    """Other numbers, and the same ones in another precision, are somebody's own network."""
    model = skviz.load("objects")
    if change == "weight":
        with torch.no_grad():
            model.fc.bias[0] += 1e-6
    elif change != "none":
        model = getattr(model, change)()
    line = code.measured(model, "scenes = …", [1.0], {})[2]
    assert (line == "model = skviz.load('objects')") == (change == "none")


def test_units_are_names_or_units_or_one_of_them(small_net, few):
    found = skviz.find_units(small_net, torch.rand(2, 3, 32, 32))
    last = found[-1]
    for asked in (last.name, last, [last], [last.name]):
        explorer = skviz.explore(small_net, few, scales=[1.0], units=asked, canvas=32)
        explorer.wait()
        assert explorer.ds["unit"].values.tolist() == [last.name]
        explorer.close()
