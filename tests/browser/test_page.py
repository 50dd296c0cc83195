"""A page that was saved, opened from disk: what needs no notebook to be seen."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import skviz
from tests.browser.conftest import barriers

# Of every text that is seen: its contrast with what is behind it (WCAG 2.2, 1.4.3).
CONTRAST = """() => {
    const pen = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const over = (...colours) => { // each on the one before
        for (const colour of colours) {
            pen.fillStyle = colour;
            pen.fillRect(0, 0, 1, 1);
        }
        return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = (colour) => colour.map((c) => c / 255)
        .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const sheet = matchMedia('(prefers-color-scheme: dark)').matches ? '#121212' : '#fff';
    const behind = (element) => (element
        ? [...behind(element.parentElement), getComputedStyle(element).backgroundColor] : [sheet]);
    const seen = [...document.querySelectorAll('main *')].filter((element) =>
        [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())
        && element.getClientRects().length && !element.closest('select, noscript, style'));
    return seen.map((element) => {
        const {color, fill} = getComputedStyle(element);
        const under = behind(element);
        const ink = over(...under, element.closest('svg') ? fill : color);
        const [low, high] = [light(ink), light(over(...under))].sort((a, b) => a - b);
        return [element.textContent.trim().slice(0, 30), (high + 0.05) / (low + 0.05)];
    });
}"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model, buses = skviz.load("objects"), skviz.objects(category="bus", family="noto-v1")
    scenes = skviz.place(skviz.objects(category=["bus", "bell", "fish"], family="noto-v1"))
    controls = skviz.controls(model, scenes, scales=[0.5, 1.5], seeds=1, progress=False)
    explorer = skviz.explore(
        model, buses, scales=[0.5, 1.0, 1.5], attribution="saliency", controls=controls
    )
    explorer.wait()
    return explorer.save(tmp_path_factory.mktemp("page") / "page.html")


@pytest.fixture
def page(path: Path, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(offline=True, reduced_motion="reduce")
    opened = context.new_page()
    errors: list[object] = []
    opened.on("pageerror", lambda error: errors.append(error))
    opened.goto(path.as_uri())
    yield opened
    assert errors == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_its_text_can_be_read(page, scheme):
    page.emulate_media(color_scheme=scheme)
    found = page.evaluate(CONTRAST)
    assert len(found) > 40
    assert [(text, ratio) for text, ratio in found if ratio < 4.5] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_out(path, browser, scheme):
    context = browser.new_context(offline=True, reduced_motion="reduce", color_scheme=scheme)
    page = context.new_page()
    page.goto(path.as_uri())
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.get_by_role("button", name=re.compile("^(Pin|Unpin)$")).click()
        page.get_by_role("button", name="Python").click()
        assert barriers(page) == []
    page.add_style_tag(content=".skviz .value { color: #999; background: #fff }")
    assert [barrier.partition(":")[0] for barrier in barriers(page)] == ["color-contrast"]
    context.close()


def test_it_has_a_heading_headers_and_says_that_it_is_stored(page):
    expect(page.locator("main h1")).to_have_text("bus (noto-v1) in the network objects")
    expect(page.locator(".status")).to_have_text("stored")
    assert page.locator(".unit-head span").all_text_contents() == [
        "unit",
        "branch weights",
        "5×5",
        "since scale 0.5",
    ]
    expect(page.get_by_role("button", name="Ask again")).to_be_hidden()


def test_keys_work_also_where_a_notebook_takes_them_first(page):
    """As Notebook 7 does with arrows."""
    page.evaluate(
        "document.addEventListener('keydown', (event) => event.stopPropagation(), {capture: true})"
    )
    page.locator("input.scale").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".readout")).to_have_text("1.50")
    page.locator(".unit[aria-checked=true]").focus()
    page.keyboard.press("ArrowUp")
    expect(page.locator(".unit[aria-checked=true] .name")).to_have_text("stage2.0.sk")


def test_buttons_of_branches_say_whether_they_are_on_and_keep_the_focus(page):
    three, five = (page.get_by_role("button", name=name, exact=True) for name in ("3×3", "5×5"))
    assert [b.get_attribute("aria-pressed") for b in (three, five)] == ["false", "true"]
    three.focus()
    page.keyboard.press("Enter")
    assert [b.get_attribute("aria-pressed") for b in (three, five)] == ["true", "true"]
    expect(three).to_be_focused()
    assert page.locator("path.curve").count() == 2
    page.keyboard.press("Enter")
    assert page.locator("path.curve").count() == 1


def test_the_frame_does_not_change_its_look_when_drawn_again(page):
    frame = page.locator(".frame")
    looks = set()
    for _ in range(3):
        page.locator("input.scale").focus()
        page.keyboard.press("ArrowLeft")
        looks.add(frame.evaluate("(frame) => getComputedStyle(frame).borderStyle"))
    assert looks == {"solid"}


def test_kernels_differ_without_colour(page):
    bars = page.locator(".unit").first.locator(".track b")
    patterns = [
        bars.nth(i).evaluate("(bar) => getComputedStyle(bar).backgroundImage") for i in (0, 1)
    ]
    assert patterns[0] != patterns[1]
    colours = [bars.nth(i).evaluate("(b) => getComputedStyle(b).backgroundColor") for i in (0, 1)]
    grey = [
        sum(
            c * w
            for c, w in zip(map(int, re.findall(r"\d+", colour)), (0.3, 0.59, 0.11), strict=True)
        )
        for colour in colours
    ]
    assert abs(grey[0] - grey[1]) > 25


@pytest.mark.parametrize("width", [1280, 900, 600, 390])
def test_nothing_is_cut_off(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for part in (".change", ".value", ".unit .name"):
        for each in page.locator(part).all():
            wide = each.evaluate("(e) => [e.scrollWidth, e.clientWidth]")
            assert not each.is_visible() or wide[0] <= wide[1] + 1, (part, width)


def test_a_thumb_on_a_chart_scrolls_the_page(page):
    touch = "(e) => getComputedStyle(e).touchAction"
    assert {svg.evaluate(touch) for svg in page.locator("svg").all()} == {"pan-y"}
    box = page.locator(".frame").bounding_box()
    page.set_viewport_size({"width": 900, "height": 400})
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.wheel(0, 200)
    page.wait_for_timeout(500)
    assert page.evaluate("window.scrollY") > 100
    expect(page.locator(".readout")).to_have_text("1.00")


def test_the_python_of_the_page_follows_the_slider(page):
    page.get_by_role("button", name="Python").click()
    text = page.get_by_label("Python of this view")
    expect(text).to_have_value(re.compile(r'scale=1\.0, unit="stage2\.1\.sk"\)$'))
    page.locator("input.scale").focus()
    page.keyboard.press("ArrowRight")
    expect(text).to_have_value(re.compile(r"scale=1\.5, "))


def test_the_object_grows_by_itself_until_it_is_touched(path, browser):
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(path.as_uri())
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page.locator(".readout")).to_have_text("1.50")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    page.get_by_role("button", name="Play").click()
    expect(page.locator(".readout")).to_have_text("0.50")
    page.locator("input.scale").focus()
    page.keyboard.press("End")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    expect(page.locator(".readout")).to_have_text("1.50")
    context.close()


def test_what_is_shown_is_in_the_address(page, path):
    page.locator("input.scale").focus()
    page.keyboard.press("ArrowLeft")
    page.locator(".unit", has_text="stage1.0").click()
    expect(page).to_have_url(re.compile(r"#.*scale=0\.50&unit=stage1\.0\.sk"))
    address = page.evaluate("location.href")
    page.goto("about:blank")
    page.goto(address)
    expect(page.locator(".readout")).to_have_text("0.50")
    expect(page.locator(".right h2")).to_have_text("stage1.0.sk")
    page.goto("about:blank")
    page.goto(path.as_uri() + "#scale=7&unit=<b>&item=unicorn&intervention=9×9&position=a")
    expect(page.locator(".status")).to_have_text("stored")
    expect(page.locator(".readout")).to_have_text("1.00")


def test_what_is_under_the_pointer_is_told(page):
    """Of the curve the weight at a scale; of the channels one, that is then drawn over scales."""
    curve, channels = page.locator(".right svg").first, page.locator(".profile svg")
    box = curve.bounding_box()
    for share, scale in ((0.999, "1.50"), (0.0, "0.50")):
        across = box["width"] * (40 + share * (340 - 66)) / 340
        page.mouse.move(box["x"] + across, box["y"] + box["height"] / 2)
        page.get_by_label("scale of the object").focus()
        said = page.locator("text.hover")
        expect(said).to_have_text(re.compile(rf"^scale {scale}: 5×5 0\.\d{{3}}$"))
        told = float(said.text_content().split()[-1])
        page.keyboard.press("End" if share else "Home")
        row = page.locator(".unit[aria-checked=true] .value")
        expect(row).to_have_text(f"{told:.3f}")
    channels.scroll_into_view_if_needed()
    box = channels.bounding_box()
    page.mouse.move(box["x"] + box["width"] * (40 + 0.5 * (340 - 66)) / 340, box["y"] + 40)
    told = re.compile(r"channel \d+: 0\.\d{3}, [+−]?0\.\d{3} since scale")
    expect(channels).to_contain_text(told)
    expect(page.locator("circle.spot")).to_be_visible()
    expect(page.locator("path.spot")).to_have_count(1)
    page.mouse.move(box["x"] - 50, box["y"] - 50)
    expect(page.locator("path.spot")).to_have_count(0)
    expect(page.locator("text.hover")).to_have_count(0)


def test_controls_stand_beside_the_claim(page):
    rows = page.locator(".verdicts svg text")
    expect(rows.filter(has_text="object grows")).to_have_count(1)
    expect(rows.filter(has_text="copies scattered")).to_have_count(1)
    said = page.locator(".verdict")
    expect(said).to_contain_text(re.compile(r"^Over 3 objects, stage2\.1\.sk (moves by|is not)"))
    page.locator("[data-unit='stage1.0.sk']").click()
    expect(said).to_contain_text(re.compile(r"^Over 3 objects, stage1\.0\.sk "))
