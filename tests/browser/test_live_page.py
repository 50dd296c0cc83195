"""A page with the network in it, opened from disk without a connection: its numbers are torch's."""

import base64
import gzip
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from torch import Tensor, nn

import skviz
from skviz.errors import SkvizError
from skviz.explorer.live import PROTOCOLS
from skviz.models.nn import SKAttention, SKConv
from tests.browser.conftest import barriers

OBJECTS = ["bus", "penguin", "tractor", "bell", "fish"]
LIVE = re.compile(r"live, \d+ ms")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    some = skviz.objects(family="noto").where(category=OBJECTS)
    explorer = skviz.explore(skviz.load("objects"), some, scales=[0.5, 0.8, 1.0, 1.5])
    explorer.wait()
    path = explorer.save(tmp_path_factory.mktemp("live") / "page.html", live=True)
    assert 5e6 < path.stat().st_size < 10e6
    return path


@contextmanager
def opened(browser: Browser, address: str) -> Iterator[Page]:
    """A page without a connection, that asks for nothing and throws nothing."""
    context = browser.new_context(offline=True, reduced_motion="reduce")
    page = context.new_page()
    errors: list[object] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: errors.append(error))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    yield page
    assert errors == []
    assert {url.partition(":")[0] for url in asked} == {"file", "blob"}
    context.close()


@pytest.fixture
def page(path: Path, browser: Browser) -> Iterator[Page]:
    with opened(browser, path.as_uri()) as page:
        expect(page.locator(".status")).to_have_text(LIVE, timeout=30000)
        yield page


def numbers(page: Page) -> list[list[float]]:
    """The mean weight of the largest kernel in every unit, and its change, as they are read."""
    expect(page.locator(".status")).to_have_text(LIVE, timeout=30000)
    expect(page.locator(".skviz")).not_to_have_class(re.compile("stale"))
    expect(page.locator("progress")).to_have_js_property("value", 1, timeout=30000)
    # The scale that is seen is answered before the others, of which changes are, begin.
    expect(page.locator(".unit .change:empty")).to_have_count(0, timeout=30000)
    return [
        [float(text.replace("−", "-")) for text in page.locator(f".unit .{kind}").all_inner_texts()]
        for kind in ("value", "change")
    ]


def picture(page: Page) -> np.ndarray:
    """The scene as it is seen, (y, x, rgb)."""
    script = """(canvas) => [...canvas.getContext('2d').getImageData(0, 0, 96, 96).data]"""
    flat = page.get_by_label("the scene as the network sees it").evaluate(script)
    return np.array(flat).reshape(96, 96, 4)[..., :3]


def measured(page: Page) -> dict[str, Any]:
    """Run the Python that the page gives; return its names."""
    page.get_by_role("button", name="Python").click()
    code = page.get_by_label("Python of this view").input_value()
    page.get_by_role("button", name="Python").click()
    found: dict[str, Any] = {}
    exec(code.rsplit("\n", 1)[0], found)
    found["scale"] = float(re.search(r"sel\(scale=([\d.]+)", code)[1])
    return found


def agrees(page: Page) -> None:
    """What the page says is what its Python gives."""
    seen, shown = numbers(page), picture(page)
    found = measured(page)
    weight = found["ds"]["weight"].isel(image=0, branch=1)  # (scale, unit)
    now, first = weight.sel(scale=found["scale"]), weight.isel(scale=0)
    np.testing.assert_allclose(seen, [now, now - first], atol=6e-4)  # of three digits
    scene = found["scenes"].render(found["scale"])[0].permute(1, 2, 0) * 255
    assert float(abs(torch.from_numpy(shown) - scene).max()) <= 1.01
    assert max(abs(np.array(seen[0]) - 0.5)) > 0.02  # else a blank page would do


def test_it_says_how_well_it_agrees(page):
    said = page.locator(".status").get_attribute("title")
    assert float(re.fullmatch(r"weights agree with torch to (\S+)", said)[1]) <= 3e-4
    agrees(page)


def test_nothing_keeps_people_out(page):
    page.get_by_role("button", name="Your picture…").click()
    assert barriers(page) == []


def test_the_band_behind_the_curve_is_what_all_objects_do(page):
    said = page.locator(".hint", has_text="of them")
    expect(said).to_contain_text("the median of the 5 objects of this page")
    some = skviz.objects(family="noto").where(category=OBJECTS)
    scales = [0.5, 0.8, 1.0, 1.5]
    ds = skviz.sweep(skviz.load("objects"), skviz.place(some), scales=scales, progress=False)
    median = ds["weight"].sel(unit="stage2.1.sk").isel(branch=1).median("image")
    drawn = re.findall(r"([\d.]+),([\d.]+)", page.locator("path.middle").get_attribute("d"))
    ticks = {
        float(tick.text_content()): float(tick.get_attribute("y"))
        for tick in page.locator(".right svg").first.locator("text[text-anchor=end]").all()
    }
    (low, bottom), (high, top) = min(ticks.items()), max(ticks.items())
    found = [low + (bottom - 3.5 - float(y)) / (bottom - top) * (high - low) for _, y in drawn]
    np.testing.assert_allclose(found, median, atol=1e-3)
    page.get_by_label("Weights").select_option("3×3")
    expect(page.locator("path.band")).to_have_count(0)


def test_another_object_moved_on_another_background(page):
    page.get_by_label("Object", exact=True).select_option("penguin")
    agrees(page)
    page.get_by_label("Background").select_option("procedural 3")
    frame = page.get_by_role("application")
    frame.focus()
    for key in ("ArrowLeft",) * 5 + ("Shift+ArrowDown", "-"):
        page.keyboard.press(key)
    agrees(page)
    assert page.get_by_label("Object", exact=True).input_value() == "penguin"


def test_objects_are_found_by_their_pictures(page):
    page.get_by_role("button", name="All objects…").click()
    buttons = page.locator(".strip button")
    expect(buttons).to_have_count(len(OBJECTS))
    expect(page.locator(".strip button[data-drawn]")).to_have_count(len(OBJECTS))
    page.get_by_label("search the objects").fill("peng")
    expect(buttons).to_have_count(1)
    buttons.focus()
    page.keyboard.press("Enter")
    numbers(page)
    expect(page.get_by_label("Object", exact=True)).to_have_value("penguin")
    small = buttons.locator("canvas").evaluate(
        "(canvas) => [...canvas.getContext('2d').getImageData(0, 0, 96, 96).data]"
    )
    small = np.array(small).reshape(96, 96, 4)[..., :3]
    expect(page.locator(".readout")).to_have_text("1.00")
    assert abs(picture(page) - small).max() <= 1


@pytest.mark.parametrize(
    "control",
    [PROTOCOLS[1], *(pytest.param(one, marks=pytest.mark.long) for one in PROTOCOLS[2:])],
)
def test_controls_are_drawn_as_skviz_draws_them(page, control):
    page.get_by_label("Background").select_option("forest")
    page.get_by_role("application").focus()
    page.keyboard.press("Shift+ArrowRight")
    page.get_by_label("Protocol").select_option(control)  # in the object's own place
    agrees(page)
    shown = picture(page)
    page.get_by_label("scale of the object").focus()
    page.keyboard.press("End")
    agrees(page)
    assert abs(picture(page) - shown).max() > 20  # something changes
    assert page.get_by_role("application").is_visible() == (control in ("scrambled", "silhouette"))


@pytest.mark.parametrize("only", [pytest.param("", marks=pytest.mark.long), "stage2.0.sk"])
@pytest.mark.parametrize("weights", ["3×3", pytest.param("uniform", marks=pytest.mark.long)])
def test_weights_can_be_forced(page, weights, only):
    page.get_by_label("Weights").select_option(weights)
    numbers(page)
    page.get_by_label("in", exact=True).select_option(only)
    seen = numbers(page)
    found = measured(page)
    weight = found["ds"]["weight"].isel(image=0, branch=1)
    np.testing.assert_allclose(seen[0], weight.sel(scale=found["scale"]), atol=6e-4)
    forced = {"3×3": 0.0, "uniform": 0.5}[weights]
    assert [value == forced for value in seen[0]].count(True) >= (1 if only else 6)


def test_an_address_opens_what_was_seen(page):
    page.get_by_label("Object", exact=True).select_option("tractor")
    page.get_by_label("Background").select_option("procedural 2")
    frame = page.get_by_role("application")
    frame.focus()
    page.keyboard.press("ArrowUp")
    page.get_by_label("Weights").select_option("5×5")
    page.get_by_label("in", exact=True).select_option("stage1.0.sk")
    seen = numbers(page)
    expect(page).to_have_url(re.compile(r"#.*only=stage1\.0\.sk"))
    address = page.evaluate("location.href")
    page.goto("about:blank")
    page.goto(address)
    expect(page.get_by_label("Object", exact=True)).to_have_value("tractor", timeout=30000)
    expect(page.get_by_label("Weights")).to_have_value("5×5")
    assert numbers(page) == seen


def test_a_picture_of_ones_own_stays_and_is_cut_out_as_skviz_does(page, tmp_path):
    across, down = np.meshgrid(np.arange(150), np.arange(110))
    rgb = np.stack([across + 40, 2 * down, 200 - across], -1).clip(0, 255).astype(np.uint8)
    rgb[30:81, 50:95] = [250, 220, 40]
    mask = np.zeros((110, 150), np.uint8)
    mask[30:81, 50:95] = 255
    for name, array in (("mine", rgb), ("mask", mask)):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    page.get_by_role("button", name="Your picture…").click()
    page.get_by_label("Picture…").set_input_files(tmp_path / "mine.png")
    expect(page.get_by_role("button", name="Explore it")).to_be_enabled()
    page.get_by_label("Mask file…").set_input_files(tmp_path / "mask.png")
    page.wait_for_timeout(300)
    page.get_by_role("button", name="Explore it").click()
    expect(page.get_by_label("Object", exact=True)).to_have_value("mine")
    seen, shown = numbers(page), picture(page)
    own = skviz.photographs({"mine": (rgb, mask)}).cut_out(canvas=96)
    ds = skviz.sweep(skviz.load("objects"), own, scales=[0.5, 1.0], progress=False)
    weight = ds["weight"].isel(image=0, branch=1)
    np.testing.assert_allclose(seen[0], weight.sel(scale=1.0), atol=1e-3)
    scene = own.render(1.0)[0].permute(1, 2, 0) * 255
    assert float(abs(torch.from_numpy(shown) - scene).max()) <= 1.01
    page.get_by_role("button", name="Your picture…").click()
    page.get_by_role("button", name="Explore it").click()  # another one, not the same anew
    expect(page.get_by_label("Object", exact=True)).to_have_value("mine 2")
    assert numbers(page)[0] == seen[0]


@pytest.mark.long
@pytest.mark.parametrize(
    ("marked", "said", "refused"),
    [
        ((), "Nothing is marked", "mask.* is empty"),
        (((0, 8), (152, 160)), "Nothing of what is marked lies in", "nothing of what is marked"),
    ],
    ids=["nothing", "both ends of a long picture"],
)
def test_a_picture_that_shows_no_object_is_refused_in_words(page, tmp_path, marked, said, refused):
    mask = np.zeros((60, 160), np.uint8)
    for first, last in marked:
        mask[:, first:last] = 255
    Image.new("RGB", (160, 60), "red").save(tmp_path / "red.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    page.get_by_role("button", name="Your picture…").click()
    page.get_by_label("Picture…").set_input_files(tmp_path / "red.png")
    expect(page.get_by_role("button", name="Explore it")).to_be_enabled()
    page.get_by_label("Mask file…").set_input_files(tmp_path / "mask.png")
    page.wait_for_timeout(300)
    page.get_by_role("button", name="Explore it").click()
    expect(page.locator(".problem")).to_contain_text(said)
    expect(page.locator(".status")).to_have_text("failed")
    with pytest.raises(SkvizError, match=refused):
        skviz.photographs({"red": (np.zeros((60, 160, 3), np.uint8), mask)}).cut_out().render(1.0)


@pytest.mark.long
def test_an_address_that_shows_nothing_is_answered_in_words(path, browser):
    with opened(browser, f"{path.as_uri()}#position=0.5,0.5") as page:
        expect(page.locator(".problem")).to_contain_text(
            "At no scale does the object lie on its canvas there.", timeout=30000
        )
        page.get_by_role("button", name="Back to what is shown").click()
        assert numbers(page)


CANCELLED = """(objects) => {
    objects.selectedIndex = [...objects.options].findIndex((option) => option.text === "fish");
    objects.dispatchEvent(new Event("change", {bubbles: true}));
    document.querySelector(".busy button").click();
}"""


def test_what_is_cancelled_is_said_and_can_be_asked_again(page):
    page.get_by_label("Object", exact=True).evaluate(CANCELLED)  # at once: a page may be fast
    expect(page.locator(".problem")).to_contain_text("Stopped before it was done.")
    expect(page.locator("progress")).to_have_js_property("value", 1)
    page.get_by_role("button", name="Ask again").click()
    agrees(page)


def test_nothing_is_asked_of_a_network_that_does_not_run(path, browser, tmp_path):
    """Its graph is damaged: what is stored stays, and no other picture is taken."""
    text = path.read_text()
    graph = re.search(r'id="graph">([^<]*)<', text)[1]
    broken = base64.b64encode(gzip.compress(b"no graph at all")).decode()
    (tmp_path / "page.html").write_text(text.replace(graph, broken))
    with opened(browser, (tmp_path / "page.html").as_uri()) as page:
        expect(page.get_by_role("button", name="Your picture…")).to_be_disabled()
        expect(page.locator(".status")).to_contain_text("live unavailable", timeout=30000)
        page.get_by_label("scale of the object").focus()
        page.keyboard.press("End")
        page.wait_for_timeout(4500)  # longer than the patience with somebody who could answer
        expect(page.locator(".status")).to_contain_text("live unavailable")
        expect(page.get_by_role("button", name="Your picture…")).to_be_disabled()


class Twice(nn.Module):
    """A unit that runs twice, and one with other kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 8, 3, stride=2), nn.Linear(8, 4)
        self.sk, self.wide = SKAttention(8, kernels=(3, 5)), SKAttention(8, kernels=(5, 7))

    def forward(self, x: Tensor) -> Tensor:
        x = self.wide(self.sk(self.sk(self.first(x).relu())))
        return self.head(x.mean((2, 3)))


@pytest.mark.long
def test_a_unit_that_runs_twice_and_objects_that_were_turned(browser, tmp_path):
    torch.manual_seed(1)
    model = skviz.wrap(Twice().eval(), canvas=64)
    some = skviz.objects(family="noto").where(category=OBJECTS)
    scenes = skviz.place(some, canvas=64, rotation=30, reference=0.9)  # too large at scale 1
    explorer = skviz.explore(model, scenes, scales=[0.3, 0.45, 0.6], canvas=64)
    explorer.wait()
    explorer.method = "saliency"
    explorer.wait()
    path = explorer.save(tmp_path / "page.html", live=True)
    with opened(browser, path.as_uri()) as page:
        plain = numbers(page)
        expect(page.get_by_label("Attribution", exact=True)).to_be_hidden()
        place = page.get_by_label("the scene as the network sees it")
        flat = place.evaluate("(c) => [...c.getContext('2d').getImageData(0, 0, 64, 64).data]")
        shown = np.array(flat).reshape(64, 64, 4)[..., :3]
        scale = float(page.locator(".skviz").get_attribute("data-scale"))
        scene = scenes[0].render(scale)[0].permute(1, 2, 0) * 255
        assert float(abs(torch.from_numpy(shown) - scene).max()) <= 1.01
        page.get_by_label("Weights").select_option("5×5")
        offered = page.get_by_label("in", exact=True).locator("option").all_inner_texts()
        assert offered == ["every unit", "sk", "wide"]
        for only in ("sk", "wide"):
            page.get_by_label("in", exact=True).select_option(only)
            found = numbers(page)[0]
            largest = {"sk": [1.0, 1.0], "wide": [0.0]}[only]
            assert (found[:2] if only == "sk" else found[2:]) == largest
        page.get_by_label("in", exact=True).select_option("sk")
        page.get_by_label("Weights").select_option("7×7")  # which this unit does not have
        expect(page.locator(".problem")).to_contain_text("No unit sk can be made 7×7.")
        page.get_by_label("in", exact=True).select_option("")
        assert numbers(page)[0][2] == 1.0 != plain[0][2]


def test_a_network_that_gives_other_numbers_than_torch_is_not_shown(path, browser, tmp_path):
    page = path.read_text()
    state = re.search(r'id="state">([^<]*)<', page)[1]
    other = json.loads(state)
    weights = np.frombuffer(
        gzip.decompress(base64.b64decode(other["grid"]["weights"]["gzip"])), "<f4"
    )
    wrong = gzip.compress((weights + np.float32(0.004)).tobytes())
    other["grid"]["weights"]["gzip"] = base64.b64encode(wrong).decode()
    (tmp_path / "page.html").write_text(page.replace(state, json.dumps(other)))
    with opened(browser, (tmp_path / "page.html").as_uri()) as page:
        said = "stored; live unavailable: weights differ by 0.00"
        expect(page.locator(".status")).to_contain_text(said, timeout=30000)
        page.get_by_label("scale of the object").focus()
        page.keyboard.press("End")
        expect(page.locator(".readout")).to_have_text("1.50")
        expect(page.get_by_label("Object", exact=True)).to_be_disabled()


@pytest.mark.parametrize("times", [1, pytest.param(4, marks=pytest.mark.long)])
def test_what_a_restoration_network_makes_is_torchs(tmp_path, browser, times):
    class Restoration(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sk, self.last = SKConv(3, groups=1), nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = x + self.last(self.sk(x))
            return nn.functional.interpolate(y, scale_factor=float(times)) if times > 1 else y

    torch.manual_seed(0)
    model, few = Restoration().eval(), skviz.objects(category="bus", family="noto")
    explorer = skviz.explore(model, few, scales=[0.5, 1.0, 1.5], canvas=128)
    explorer.wait()
    shown = {1: 128, 4: 256}[times]
    said = f"{128 * times} × {128 * times}" + (", shown as 256 × 256" if times > 1 else "")
    path = explorer.save(tmp_path / "page.html", live=True)
    explorer.close()
    with opened(browser, path.as_uri()) as page:
        expect(page.locator(".status")).to_have_text(LIVE, timeout=30000)
        for force in (None, "3×3"):
            if force:
                page.get_by_label("Weights").select_option(force)
            numbers(page)
            expect(page.locator(".output figcaption")).to_contain_text(f"makes of it, {said}")
            expect(page.locator(".classes")).to_be_hidden()
            script = f"c => [...c.getContext('2d').getImageData(0, 0, {shown}, {shown}).data]"
            flat = page.locator(".output canvas").evaluate(script)
            seen = torch.tensor(flat).reshape(shown, shown, 4)[..., :3]
            forced = {"sk": skviz.force(branch=0)}
            with torch.no_grad(), skviz.intervene(model, forced) if force else nullcontext():
                made = model(skviz.place(few, canvas=128)[:1].render(1.0))
            made = nn.functional.interpolate(made, (shown, shown), mode="area").clamp(0, 1)
            assert float(abs(seen - 255 * made[0].permute(1, 2, 0)).max()) <= 1.01
