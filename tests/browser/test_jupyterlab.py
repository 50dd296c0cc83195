"""The explorer under a real hand, in a real JupyterLab."""

import io
import os
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Locator, expect

import skviz
from skviz.scenes.backgrounds import procedural
from skviz.scenes.source import Scenes
from tests.browser.conftest import ROOT, Lab, Notebook, barriers

TOLD = 600  # milliseconds after which the kernel knows what the hand did
SLOW = 120_000  # milliseconds: a loaded machine imports torch for long
ITEM = ("penguin", "noto-v1")


@pytest.fixture(scope="module")
def notebook(lab: Lab, browser: Browser) -> Iterator[Notebook]:
    """Notebook 02, run up to its explorer."""
    name = "notebooks/02_object_scale.ipynb"
    (lab.folder / "notebooks").mkdir()
    shutil.copy(ROOT / name, lab.folder / name)
    opened = lab.open(browser, name)
    opened.run(0, 1)
    opened.page.wait_for_selector(".skviz .change:not(:empty)", timeout=SLOW)
    yield opened
    assert opened.errors == []
    own = (lab.url, "data:", f"blob:{lab.url}")
    assert [address for address in opened.asked if not address.startswith(own)] == []
    opened.close()


@pytest.fixture
def view(notebook: Notebook) -> Locator:
    """The explorer of notebook 02 as it was at first."""
    notebook.page.mouse.up()
    notebook.page.wait_for_timeout(TOLD)
    notebook.python(
        "for name, value in {'item': 'noto-v1/penguin', 'position': [0.0, 0.0], 'scale': 1.0, "
        "'intervention': 'natural', 'protocol': 'rescale', 'background': 'its own', "
        "'unit': 'stage2.1.sk'}.items(): setattr(explorer, name, value)"
    )
    root = notebook.page.locator(".skviz").first
    root.scroll_into_view_if_needed()
    settled(root)
    return root


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return skviz.load("objects")


def scenes(**options: object) -> Scenes:
    """Place the object of the tests as the notebook does: the fifth of its eight."""
    few = skviz.objects(family=("noto-v1", "fxemoji"))
    few = few.where(category=["penguin", "rocket", "snail", "whale"])
    index = few.ids.index("/".join(reversed(ITEM)))
    return skviz.place(few, **options)[index : index + 1]


def expected(model: torch.nn.Module, source: Scenes, scale: float) -> dict[str, float]:
    """Mean weight of the larger kernel by unit, from a sweep of its own."""
    ds = skviz.sweep(model, source, scales=[scale], progress=False)
    weight = ds["weight"].isel(image=0, scale=0, branch=1)
    return dict(zip(weight.unit.values.tolist(), weight.values.tolist(), strict=True))


def drawn(view: Locator) -> dict[str, float]:
    """Read the same back from the page."""
    names = view.locator(".unit .name").all_text_contents()
    values = view.locator(".unit .value").all_text_contents()
    return dict(zip(names, map(float, values), strict=True))


def measured(view: Locator) -> None:
    """Wait until the view is what its controls say."""
    expect(view).to_have_attribute("data-state", re.compile("live|stored"), timeout=SLOW)


def settled(view: Locator) -> None:
    """Wait until what is drawn is what was asked for."""
    measured(view)
    expect(view.locator(".busy")).to_have_class(re.compile("idle"), timeout=SLOW)


def middle(part: Locator) -> tuple[float, float]:
    box = part.bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def slide(view: Locator, scale: float) -> None:
    """Take the slider's thumb to a scale with the mouse."""
    view.locator("input.scale").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')) }",
        round((scale - 0.5) / 0.05),
    )


def test_the_slider_shows_what_a_sweep_measures_and_asks_nobody(view, notebook, model):
    notebook.page.wait_for_timeout(TOLD)
    before = len(notebook.sent)
    box = view.locator("input.scale").bounding_box()
    mouse, y = notebook.page.mouse, box["y"] + box["height"] / 2
    mouse.move(box["x"] + 0.4 * box["width"], y)
    mouse.down()
    seen = {}
    for share in np.linspace(0.4, 0.95, 12):
        mouse.move(box["x"] + share * box["width"], y)
        seen[float(view.locator(".readout").text_content())] = drawn(view)
    asked = [str(frame) for frame in notebook.sent[before:]]
    mouse.up()
    # It may be told the scale, on a machine so slow that the hand seems to rest; it is not asked.
    assert [frame for frame in asked if "comm_msg" in frame and "custom" in frame] == []
    assert len(seen) > 8
    for scale in (min(seen), max(seen)):
        assert seen[scale] == pytest.approx(expected(model, scenes(), scale), abs=1e-3)
    notebook.page.wait_for_timeout(TOLD)  # now the kernel is told
    assert float(notebook.python("", "explorer.scale")) == max(seen)


def test_nothing_keeps_people_out(view):
    assert barriers(view.page) == []


def test_a_corner_rescales(view, notebook, model):
    corner, centre = middle(view.locator(".corner.se")), middle(view.locator(".frame"))
    mouse = notebook.page.mouse
    mouse.move(*corner)
    mouse.down()
    for share in np.linspace(1, 1.5, 8):
        mouse.move(*(c + share * (k - c) for k, c in zip(corner, centre, strict=True)))
    mouse.up()
    expect(view.locator(".readout")).to_have_text("1.50")
    assert drawn(view) == pytest.approx(expected(model, scenes(), 1.5), abs=1e-3)
    mouse.move(*centre)
    mouse.wheel(0, 100)
    expect(view.locator(".readout")).to_have_text("1.45")


def test_dragging_the_object_asks_the_model(view, notebook, model):
    x, y = middle(view.locator(".frame"))
    pixel = view.locator(".stage canvas").first.bounding_box()["width"] / 96
    mouse = notebook.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + 6 * pixel, y + 3 * pixel, steps=6)
    measured(view)
    moved = scenes(position=(-0.0 + 3 / 96, 6 / 96))
    assert drawn(view) == pytest.approx(expected(model, moved, 1.0), abs=1e-3)
    mouse.up()
    settled(view)
    expect(view.locator(".change").first).not_to_be_empty()  # the grid of the new place is there
    slide(view, 1.3)
    assert drawn(view) == pytest.approx(expected(model, moved, 1.3), abs=1e-3)
    mouse.move(*middle(view.locator(".frame")))
    mouse.down()
    mouse.move(x + 900, y, steps=3)  # no further than the border
    mouse.up()
    settled(view)
    expect(view.locator(".problem")).to_be_hidden()


def test_keys_do_all_of_it(view, notebook, model):
    keyboard = notebook.page.keyboard
    view.locator("input.scale").focus()
    keyboard.press("ArrowRight")
    expect(view.locator(".readout")).to_have_text("1.05")
    view.locator(".frame").focus()
    keyboard.press("+")
    keyboard.press("+")
    keyboard.press("-")
    expect(view.locator(".readout")).to_have_text("1.10")
    keyboard.press("Shift+ArrowLeft")
    keyboard.press("ArrowUp")
    settled(view)
    moved = scenes(position=(-1 / 96, -8 / 96))
    assert drawn(view) == pytest.approx(expected(model, moved, 1.1), abs=1e-3)
    view.locator(".unit[aria-checked=true]").focus()
    keyboard.press("ArrowDown")
    expect(view.locator(".unit[aria-checked=true] .name")).to_have_text("stage3.0.sk")
    expect(view.locator(".right h2")).to_have_text("stage3.0.sk")


def test_a_pinned_view_stays_beside(view):
    slide(view, 0.6)
    small = drawn(view)
    view.get_by_role("button", name="Pin", exact=True).click()
    slide(view, 1.8)
    large = drawn(view)
    changes = view.locator(".change").all_text_contents()
    for (name, weight), change in zip(large.items(), changes, strict=True):
        assert float(change.replace("−", "-")) == pytest.approx(weight - small[name], abs=2e-3)
    expect(view.get_by_label("the pinned scene", exact=True)).to_be_visible()
    expect(view.get_by_text("pinned: penguin, scale 0.60")).to_be_visible()
    view.get_by_role("button", name="Unpin").click()
    expect(view.get_by_label("the pinned scene", exact=True)).to_be_hidden()


def test_interventions_are_what_the_network_uses(view, model):
    choose = view.get_by_label("Weights", exact=True)
    choose.select_option("5×5")
    settled(view)
    assert set(drawn(view).values()) == {1.0}
    names = [unit.name for unit in skviz.find_units(model, scenes().render(1.0))]
    with torch.inference_mode(), skviz.intervene(model, dict.fromkeys(names, 5)):
        chances = model(scenes().render(1.0)).softmax(1)[0]
    shown = view.locator(".classes li .value").all_text_contents()
    np.testing.assert_allclose(
        list(map(float, shown)), chances.sort(descending=True).values[:5], atol=1e-3
    )
    view.get_by_label("in", exact=True).select_option("stage1.0.sk")
    settled(view)
    weights = list(drawn(view).values())
    assert weights[0] == 1
    assert max(weights[1:]) < 1
    choose.select_option("uniform")
    settled(view)
    assert drawn(view)["stage1.0.sk"] == 0.5


def test_selectors_change_object_background_protocol_and_network(view, notebook, model):
    view.get_by_label("Object", exact=True).select_option("whale")
    view.get_by_label("Background", exact=True).select_option("procedural 2")
    settled(view)
    whale = skviz.place(
        skviz.objects(category="whale", family="noto-v1"), backgrounds=procedural([2], 96)
    )
    assert drawn(view) == pytest.approx(expected(model, whale, 1.0), abs=1e-3)
    view.get_by_label("Protocol", exact=True).select_option("zoom")
    slide(view, 1.5)
    settled(view)
    whale = skviz.place(
        skviz.objects(category="whale", family="noto-v1"),
        backgrounds=procedural([2], 384),
        canvas=384,
    )
    picture = (whale.render(1.0)[0] * 255).round().byte()
    assert drawn(view) == pytest.approx(
        expected(model, skviz.photographs({"whale": picture}).zoom(), 1.5), abs=1e-3
    )
    view.get_by_label("Network", exact=True).select_option("untrained")
    settled(view)
    assert notebook.python("", "explorer.grid['setting']['network']") == "'untrained'"
    view.get_by_label("Network", exact=True).select_option("objects")


def test_a_picture_of_ones_own(view, notebook, model, tmp_path):
    coffee = skviz.photographs()["coffee"]
    picture, mask = ((part[0] * 255).round().byte() for part in (coffee.pictures, coffee.masks))
    Image.fromarray(picture.permute(1, 2, 0).numpy()).save(tmp_path / "<b>cup.png")
    Image.fromarray(mask[0].numpy()).save(tmp_path / "mask.png")
    view.get_by_role("button", name="Your picture").click()
    own = view.get_by_label("your own picture")
    own.locator("input[type=file]").nth(0).set_input_files(tmp_path / "<b>cup.png")
    expect(own.get_by_role("button", name="Explore it")).to_be_enabled()
    own.locator("input[type=file]").nth(1).set_input_files(tmp_path / "mask.png")
    own.get_by_role("button", name="Explore it").click()  # once it is enabled again
    expect(view.get_by_label("Drawn by", exact=True)).to_have_value("your pictures")
    slide(view, 0.8)
    settled(view)
    assert notebook.python("", "explorer.problem") == "''"
    sent = skviz.photographs({"cup": (picture, (mask > 127).byte() * 255)}).cut_out()
    assert drawn(view) == pytest.approx(expected(model, sent, 0.8), abs=2e-2)  # it was shrunk
    # What is no picture is told, and changes nothing.
    view.get_by_role("button", name="Your picture").click()
    (tmp_path / "words.png").write_text("no picture")
    own.locator("input[type=file]").nth(0).set_input_files(tmp_path / "words.png")
    expect(own.locator(".hint")).to_contain_text("words.png is no picture")
    view.get_by_role("button", name="Your picture").click()
    # A box in the place of the mask, and a complaint where there is none.
    view.get_by_role("button", name="Your picture").click()
    own.locator("input[type=file]").nth(0).set_input_files(tmp_path / "<b>cup.png")
    canvas = own.locator("canvas")
    own.get_by_role("button", name="Explore it").click()
    expect(view.locator(".problem")).to_contain_text("is empty")
    view.get_by_role("button", name="Your picture").click()
    canvas.scroll_into_view_if_needed()
    x, y = middle(canvas)
    notebook.page.mouse.move(x - 50, y - 50)
    notebook.page.mouse.down()
    notebook.page.mouse.move(x + 50, y + 40, steps=4)
    notebook.page.mouse.up()
    own.get_by_role("button", name="Explore it").click()
    expect(view.locator(".problem")).to_be_hidden(timeout=SLOW)
    settled(view)
    frame, stage = (view.locator(part).first.bounding_box() for part in (".frame", ".stage"))
    assert frame["width"] / frame["height"] == pytest.approx(100 / 90, abs=0.05)
    assert frame["width"] < stage["width"] / 2


def test_files_are_saved(view, notebook, tmp_path):
    for name, start in {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}.items():
        with notebook.page.expect_download() as download:
            view.get_by_role("button", name=f"save as {name}").click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        assert path.name == f"noto-v1-penguin-1.{name}"
        assert path.read_bytes().startswith(start)
    assert Image.open(io.BytesIO(path.read_bytes())).width > 1500


def test_the_page_that_is_saved_slides_from_disk(view, notebook, browser, model, tmp_path):
    with notebook.page.expect_download() as download:
        view.get_by_role("button", name="save as html").click()
    path = tmp_path / "page.html"
    download.value.save_as(path)
    assert path.stat().st_size < 5e6
    context = browser.new_context(offline=True, reduced_motion="reduce")
    page = context.new_page()
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(path.as_uri())
    alone = page.locator(".skviz")
    slide(alone, 1.7)
    assert drawn(alone) == pytest.approx(expected(model, scenes(), 1.7), abs=1e-3)
    alone.locator("input.scale").focus()
    page.keyboard.press("ArrowLeft")
    expect(alone.locator(".readout")).to_have_text("1.65")
    alone.get_by_role("button", name="Pin", exact=True).click()
    assert (asked, errors) == ([path.as_uri()], [])
    context.close()


def test_the_python_of_a_view_measures_the_same(view):
    view.get_by_label("Background", exact=True).select_option("forest")
    view.get_by_label("Weights", exact=True).select_option("3×3")
    view.get_by_label("in", exact=True).select_option("stage1.1.sk")
    settled(view)
    slide(view, 0.75)
    view.get_by_role("button", name="Python", exact=True).click()
    text = view.get_by_label("Python of this view")
    expect(text).to_be_visible()
    names: dict[str, object] = {}
    *program, last = text.input_value().strip().splitlines()
    exec("\n".join(program), names)
    found = eval(last, names)
    assert "scale=0.75" in last
    assert float(found.isel(branch=1).squeeze()) == pytest.approx(
        drawn(view)["stage2.1.sk"], abs=1e-3
    )
    view.get_by_role("button", name="Python", exact=True).click()


def test_dragging_while_a_cell_runs(view, notebook, model):
    run = "import time; busy = True; time.sleep(6); busy = False"
    notebook.page.evaluate(
        """(code) => { window.jupyterapp.shell.currentWidget.sessionContext.session.kernel
            .requestExecute({code, store_history: false}); }""",
        run,
    )
    notebook.page.wait_for_timeout(500)
    slide(view, 1.4)
    assert drawn(view) == pytest.approx(expected(model, scenes(), 1.4), abs=1e-3)
    view.locator(".frame").focus()
    for _ in range(4):
        notebook.page.keyboard.press("ArrowRight")
    settled(view)
    moved = scenes(position=(0, 4 / 96))
    assert drawn(view) == pytest.approx(expected(model, moved, 1.4), abs=1e-3)
    expect(view.locator(".problem")).to_be_hidden()


MOODY = """import os, torch, skviz
class Moody(torch.nn.Module):
    broken = False
    def __init__(self):
        super().__init__()
        self.net = skviz.load('objects')
    def forward(self, images):
        if self.broken:
            raise RuntimeError('out of memory')
        return self.net(images)
model = Moody()
few = skviz.objects(category=['bus', 'penguin'], family='noto-v1')
explorer = skviz.explore(model, few)"""


@pytest.fixture
def moody(lab: Lab, browser: Browser) -> Iterator[Notebook]:
    """A bus in front of a network that can break."""
    opened = lab.open(browser, lab.notebook("moody.ipynb", MOODY, "explorer"))
    opened.run(0, 1)
    settled(opened.page.locator(".skviz"))
    yield opened
    assert opened.errors == []
    opened.close()


@pytest.mark.long
def test_after_an_error_of_the_model_nothing_old_has_a_new_name(moody, model):
    view = moody.page.locator(".skviz")
    bus, penguin = (
        skviz.place(skviz.objects(category=name, family="noto-v1"), backgrounds=procedural([i], 96))
        for i, name in enumerate(("bus", "penguin"))
    )
    assert drawn(view) == pytest.approx(
        {f"net.{name}": weight for name, weight in expected(model, bus, 1.0).items()}, abs=1e-3
    )
    before = drawn(view)
    moody.python("model.broken = True")
    view.get_by_label("Object", exact=True).select_option("penguin")
    expect(view).to_have_attribute("data-state", "failed", timeout=SLOW)
    expect(view).to_have_class(re.compile("stale"))
    expect(view.locator(".problem")).to_contain_text("RuntimeError: out of memory")
    expect(view.locator(".problem")).to_contain_text("Below is bus (noto-v1), scale 1.00")
    expect(view.locator("figcaption").first).to_contain_text("bus (noto-v1)")
    opacity = "(root) => +getComputedStyle(root.querySelector('.units')).opacity"
    moody.page.wait_for_timeout(500)
    assert view.evaluate(opacity) < 0.5
    assert drawn(view) == before
    for button in view.get_by_role("button", name="save as").all():
        expect(button).to_be_disabled()
    view.get_by_role("button", name="Back to what is shown").click()
    expect(view.get_by_label("Object", exact=True)).to_have_value("bus")
    # The same at a scale that is not on the grid: the slider's is not the picture's.
    moody.python("", "setattr(explorer, 'scale', 1.23)")
    expect(view).to_have_attribute("data-state", "failed", timeout=SLOW)
    expect(view).to_have_class(re.compile("stale"))
    expect(view.locator(".readout")).to_have_text("1.23")
    expect(view.locator("figcaption").first).to_contain_text("scale 1.00")
    # And asked again, it is there.
    moody.python("explorer.item = 'noto-v1/penguin'\ntry: explorer.wait()\nexcept RuntimeError: 0")
    expect(view).to_have_attribute("data-state", "failed", timeout=SLOW)
    moody.python("model.broken = False")
    view.get_by_role("button", name="Ask again").click()
    settled(view)
    expect(view).not_to_have_class(re.compile("stale"))
    expect(view.locator(".problem")).to_be_hidden()
    found = {f"net.{name}": weight for name, weight in expected(model, penguin, 1.23).items()}
    assert drawn(view) == pytest.approx(found, abs=1e-3)
    view.get_by_role("button", name="Python", exact=True).click()
    expect(view.get_by_label("Python of this view")).to_have_value(re.compile(r"scale=1\.23,"))
    slide(view, 1.5)
    expect(view.get_by_label("Python of this view")).to_have_value(re.compile(r"scale=1\.5,"))


def test_a_kernel_that_does_not_answer_is_missed_and_found_again(moody):
    view = moody.page.locator(".skviz")
    before = drawn(view)
    kernel = int(moody.python("", "os.getpid()"))
    os.kill(kernel, signal.SIGSTOP)
    try:
        view.get_by_label("Object", exact=True).select_option("penguin")
        expect(view).to_have_class(re.compile("stale"))
        expect(view).to_have_attribute("data-state", "silent", timeout=10_000)
        expect(view.locator(".status")).to_have_text("no answer")
        expect(view.locator(".problem")).to_contain_text("Below is bus (noto-v1), scale 1.00")
        assert drawn(view) == before
    finally:
        os.kill(kernel, signal.SIGCONT)
    settled(view)
    expect(view.locator(".problem")).to_be_hidden()
    expect(view.locator("figcaption").first).to_have_text("penguin, scale 1.00")
    assert drawn(view) != before


KILL = """() => { window.jupyterapp.shell.currentWidget.sessionContext.session.kernel
    .requestExecute({code: "os.kill(os.getpid(), 9)", store_history: false})
    .done.catch(() => 0); }"""
RESTART = """async () => {
    const panel = window.jupyterapp.shell.currentWidget;
    await panel.sessionContext.restartKernel();
    await panel.sessionContext.session.kernel.info;
}"""


@pytest.mark.parametrize(
    "end", [KILL, pytest.param(RESTART, marks=pytest.mark.long)], ids=["killed", "restarted"]
)
def test_without_a_kernel_what_was_measured_is_still_there(moody, model, end):
    view = moody.page.locator(".skviz")
    moody.page.evaluate(end)
    if end == KILL:
        moody.page.get_by_role("button", name="Ok", exact=True).click(timeout=SLOW)  # it has died
    expect(view).to_have_attribute("data-state", "gone", timeout=SLOW)
    expect(view.locator(".status")).to_have_text("no kernel")
    expect(view.locator(".problem")).to_contain_text("Run the cell again")
    for name in ("Object", "Background", "Protocol", "Weights", "Attribution"):
        expect(view.get_by_label(name, exact=True)).to_be_disabled()
    slide(view, 1.5)
    bus = skviz.place(skviz.objects(category="bus", family="noto-v1"))
    found = {f"net.{name}": weight for name, weight in expected(model, bus, 1.5).items()}
    assert drawn(view) == pytest.approx(found, abs=1e-3)
    expect(view).not_to_have_class(re.compile("stale"))
    view.locator(".frame").focus()
    moody.page.keyboard.press("ArrowRight")  # to where nobody has measured
    expect(view.locator("figcaption").first).to_have_text("bus, scale 1.50")
    moody.run(0, 1)
    settled(moody.page.locator(".skviz"))
    expect(moody.page.locator(".skviz .status")).to_have_text("live")


@pytest.mark.long
def test_two_views_move_together_and_survive_a_restart(lab, browser, model):
    name = lab.notebook(
        "two.ipynb",
        "import skviz\nmodel = skviz.load('objects')\nobjects = skviz.objects(category='bus')",
        "explorer = skviz.explore(model, objects)\nexplorer",
        "explorer",
        "import ipywidgets\nwide = ipywidgets.FloatSlider(max=2)\n"
        "ipywidgets.jslink((wide, 'value'), (explorer, 'scale'))\nwide",
    )
    two = lab.open(browser, name, height=1900)
    for _ in range(2):
        two.run(0, 1, 2, 3)
        views = [two.page.locator(".skviz").nth(number) for number in range(2)]
        for each in views:
            each.locator(".change:not(:empty)").first.wait_for(timeout=SLOW)
        slide(views[0], 1.6)
        bus = skviz.place(skviz.objects(category="bus"))[:1]
        assert drawn(views[1]) == pytest.approx(expected(model, bus, 1.6), abs=1e-3)
        two.page.wait_for_timeout(TOLD)
        assert two.python("", "explorer.scale, wide.value") == "(1.6, 1.6)"
        two.page.evaluate(RESTART)
    assert two.errors == []
    two.close()


@pytest.mark.long
def test_a_cell_that_is_run_again_leaves_one_explorer_and_a_picture_for_later(lab, browser):
    slow = MOODY.replace("        if", "        __import__('time').sleep(0.5)\n        if")
    made = lab.open(browser, lab.notebook("again.ipynb", slow, "explorer"))
    alive = (
        "import gc; from skviz.explorer.widget import Explorer; gc.collect()",
        "sum(isinstance(o, Explorer) and o.comm is not None for o in gc.get_objects())",
    )
    for _ in range(3):
        made.run(0, 1)
    settled(made.page.locator(".skviz"))
    assert made.python(*alive) == "1"
    assert made.errors == []
    picture = made.page.locator("img[src^='data:image/png']")
    expect(picture).to_have_count(1, timeout=SLOW)  # it came when there was something to keep
    expect(picture).to_be_hidden()
    made.page.evaluate(
        """async () => {
            await window.jupyterapp.commands.execute('docmanager:save');
            await window.jupyterapp.shell.currentWidget.sessionContext.shutdown();
        }"""
    )
    assert made.errors == []
    made.close()
    again = lab.open(browser, "again.ipynb")
    picture = again.page.locator("img[src^='data:image/png']")
    expect(picture).to_be_visible()
    assert picture.evaluate("(image) => image.naturalWidth") > 600
    assert again.page.locator(".skviz").count() == 0
    expect(again.page.locator(".jp-OutputArea-child")).to_have_count(2)
    expect(again.page.locator(".jp-OutputArea-child:visible")).to_have_count(1)  # no "not found"
    again.close()


def test_names_are_text_and_nothing_else(browser, tmp_path):
    evil = "</script><img src=x onerror='document.title=1'>"
    few = replace(skviz.objects(category="bus")[[0]], category=(evil,))
    explorer = skviz.explore(skviz.load("objects"), few, scales=[0.5, 1.0])
    explorer.wait()
    page = browser.new_page()
    page.goto(explorer.save(tmp_path / "page.html").as_uri())
    expect(page.locator("figcaption").first).to_contain_text("onerror")
    assert page.locator("img").count() == 0
    assert "img" in page.title()
    page.close()


@pytest.mark.long
def test_notebook_7_leaves_its_keys_to_the_explorer(lab, browser):
    """It has shortcuts on arrows, which it hears first."""
    code = (
        "import skviz\nmodel, buses = skviz.load('objects'), skviz.objects(category='bus')\n"
        "skviz.explore(model, buses, scales=[0.5, 1.0, 1.5])"
    )
    page = browser.new_page()
    page.goto(f"{lab.url}/notebooks/{lab.notebook('seven.ipynb', code)}?token={lab.token}")
    page.locator(".jp-Cell .cm-content").first.click(timeout=SLOW)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=SLOW)
    page.keyboard.press("Shift+Enter")
    view = page.locator(".skviz")
    view.locator(".change:not(:empty)").first.wait_for(timeout=SLOW)
    view.locator("input.scale").focus()
    page.keyboard.press("ArrowRight")
    expect(view.locator(".readout")).to_have_text("1.50")
    view.locator(".unit[aria-checked=true]").focus()
    page.keyboard.press("ArrowUp")
    expect(view.locator("[data-unit='stage2.0.sk']")).to_be_focused()
    frame = view.locator(".frame")
    before = middle(frame)[0]
    frame.focus()
    page.keyboard.press("Shift+ArrowLeft")
    settled(view)
    assert middle(frame)[0] < before - 10
    assert barriers(page) == []
    page.close()
