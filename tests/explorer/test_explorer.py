"""The explorer from Python; what a hand does with it is in tests/browser."""

import base64
import io
import json
import re
import time

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image

import skviz
from skviz.errors import SkvizError, UnitError
from skviz.explorer.items import Setting, items
from skviz.explorer.worker import Worker

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
    assert set(explorer.ds.children) == set(ds.children)
    np.testing.assert_array_equal(explorer.ds["thumbnail"], ds["thumbnail"])
    np.testing.assert_array_equal(explorer.ds["prediction"], ds["prediction"])


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
    for item in (items(few)[2], items({"coffee": pictures["coffee"]})[0]):
        program = "\n".join(item.python(setting, 32))
        names = {"skviz": skviz, "torch": torch}
        exec(
            "from dataclasses import replace\nfrom skviz import data\n"
            f"from skviz.scenes.backgrounds import procedural\n{program}",
            names,
        )
        scale = 1.0 if setting.protocol == "zoom" else 0.75
        torch.testing.assert_close(
            names["scenes"].render(scale), item.scenes(setting, 32).render(scale), atol=1e-6, rtol=0
        )


def test_interventions_on_all_units_and_on_one(explorer):
    def weights(name):
        return explorer.ds[name]["weight"].dropna("branch").values

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
        target=skviz.attribution.attention_difference(explorer.unit),
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
    answered = [content["number"] for content in sent]
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
    with pytest.raises(SkvizError, match=r"expected a torch\.nn\.Module"):
        skviz.explore("objects", few)
    with pytest.raises(UnitError, match="no unit whose weights can be shown"):
        skviz.explore(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 2)), few,
                      scales=[1.0], canvas=32).wait()  # fmt: skip
    with pytest.raises(SkvizError, match=r"ends in \.html"):
        skviz.export_html(explorer, "page.txt")


def test_the_page_holds_what_was_measured(explorer, tmp_path):
    text = skviz.export_html(explorer, tmp_path / "new" / "page.html").read_text()
    assert not re.search(r"(src|href)=.?https?:", text)
    state = json.loads(re.search(r'id="state">(.*?)</script>', text, re.DOTALL)[1])
    assert base64.b64decode(state["grid"]["weights"]["base64"]) == explorer.grid["weights"]
    assert state["code"] == explorer.python


def test_a_worker_runs_the_latest_of_each_kind_and_the_urgent_first():
    done: list[str] = []
    errors: list[Exception] = []
    worker = Worker(("urgent", "slow"), errors.append)

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
    worker.submit("urgent", broken())
    assert worker.wait(5)
    assert done[-4:] == ["b0", "b1", "b2", "b3"]
    assert len(done) < 30
    assert [str(error) for error in errors] == ["no"]
    assert worker.wait()
