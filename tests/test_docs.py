"""The site: built without a warning, complete, at home in its own folder; its code runs."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image
from playwright.sync_api import expect

import skviz
from tests import pages

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium")
HOWTO = ("own_model", "own_pictures", "paper", "cluster", "new_control")
# What a page fetches by itself.
FETCHED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """What a page fetches, where its links lead, and what can be linked in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if "id" in given:
            self.anchors.add(given["id"] or "")
        address = given.get(FETCHED.get(tag, ""))
        if address and given.get("rel") != "canonical":
            self.fetched.append(address)
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `make docs` builds it, from a copy of the pages: those beside it stay as they are."""
    folder = tmp_path_factory.mktemp("site")
    left_out = shutil.ignore_patterns("_build", "*.ipynb", "__pycache__")
    for name in ("docs", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=left_out if name == "docs" else None)
    for name in ("README.md", "README.zh.md"):
        shutil.copy(ROOT / name, folder)
    for name in ("skviz", "data"):
        (folder / name).symlink_to(ROOT / name)
    out = folder / "docs/_build/html"
    asked = re.search(r"sphinx-build (.*) docs docs/_build/html", (ROOT / "Makefile").read_text())
    assert asked
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *asked[1].split(), "docs", str(out)],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


@cache
def page(path: Path) -> Page:
    return Page(path)


def built(site: Path) -> list[Path]:
    return [p for p in site.rglob("*.html") if p.name != "live.html" and "_static" not in p.parts]


@pytest.mark.long
def test_it_is_complete(site):
    """Every page and notebook, and of the notebooks' explorers the pictures."""
    names = {path.relative_to(site).with_suffix("").as_posix() for path in built(site)}
    written = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    written |= {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.rst")}
    notebooks = {f"tutorials/{path.stem}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert names >= {path.with_suffix("").as_posix() for path in written} | notebooks | {"zh/index"}
    assert 5e6 < (site / "live.html").stat().st_size < 12e6
    shown = (site / "tutorials/02_object_scale.html").read_text()
    picture = '<img alt="&lt;skviz.Explorer of'
    assert shown.count("skviz.Explorer of") == shown.count(picture) == 1  # and not its text too


@pytest.mark.long
def test_it_asks_no_other_host(site):
    for path in built(site):
        for address in page(path).fetched:
            assert urlsplit(address).scheme in ("", "data"), f"{path.name}: {address}"
            assert not address.startswith("//")
    for path in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", path.read_text("utf-8")), path


@pytest.mark.long
def test_its_links_lead_somewhere(site):
    for path in built(site):
        for address in page(path).links + page(path).fetched:
            parts = urlsplit(address)
            if parts.scheme:
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert to.exists(), f"{path.name}: {address}"
            if parts.fragment and to.suffix == ".html" and to.name not in ("live.html",):
                assert unquote(parts.fragment) in page(to).anchors, f"{path.name}: {address}"


@pytest.mark.long
def test_everything_public_is_in_the_reference_with_an_example(site):
    pages_of = {path: path.read_text() for path in (site / "reference").glob("*.html")}
    entry_points = {name for name in skviz.__all__ if callable(getattr(skviz, name))}
    for name in entry_points:
        anchor = f'id="skviz.{name}"'
        (text,) = (text for text in pages_of.values() if anchor in text)
        own = text[text.index(anchor) :]
        own = re.split(r'id="skviz\.[\w.]+"', own[len(anchor) :])[0]
        assert "&gt;&gt;&gt;" in own or name == "SkvizError", name
    for room in ("plot", "stats", "capture"):
        for name in getattr(skviz, room).__all__:
            told = f"skviz.{name}" if name in entry_points else f"skviz.{room}.{name}"
            assert any(f'id="{told}"' in text for text in pages_of.values()), told


@pytest.mark.skipif(
    not CHROMIUM and "SKVIZ_BROWSER" not in os.environ, reason="chromium is not installed"
)
@pytest.mark.long
@pytest.mark.parametrize("width", [390, 1400])
def test_the_network_answers_on_the_front_page_without_a_connection(site, browser, width):
    context = browser.new_context(
        offline=True, reduced_motion="reduce", viewport={"width": width, "height": 900}
    )
    front = context.new_page()
    asked: list[str] = []
    errors: list[object] = []
    front.on("request", lambda request: asked.append(request.url))
    front.on("pageerror", lambda error: errors.append(error))
    front.goto((site / "index.html").as_uri())
    inside = front.frame_locator("iframe")
    expect(inside.locator(".status")).to_have_text(re.compile(r"live, \d+ ms"), timeout=60000)
    before = inside.locator(".unit .value").all_inner_texts()
    inside.get_by_role("slider").first.fill("0")
    expect(inside.locator(".readout")).to_have_text("0.50")
    assert inside.locator(".unit .value").all_inner_texts() != before
    assert errors == []
    assert {url.partition(":")[0] for url in asked} == {"file", "blob"}
    # Neither scrolls sideways, and all of the page inside is seen.
    size = "() => [document.documentElement.scrollWidth, innerWidth]"
    assert len(set(front.evaluate(size))) == 1
    frame = front.frames[1]
    seen = frame.evaluate("() => [document.documentElement.scrollHeight, innerHeight]")
    assert seen[0] <= seen[1] < seen[0] + 250
    context.close()


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the pages take to be there."""
    (tmp_path / "photos").mkdir()
    for path in (ROOT / "data/photos").iterdir():
        shutil.copy(path, tmp_path / "photos" / path.name.replace("chelsea", "cat"))
    objects = skviz.objects(category="bus", family="noto")
    Image.fromarray(objects.rgba[0].permute(1, 2, 0).numpy()).save(tmp_path / "drawing.png")
    monkeypatch.chdir(tmp_path)
    before = dict(skviz.scenes.changes.CONTROL_SCENES)
    yield
    skviz.scenes.changes.CONTROL_SCENES.clear()
    skviz.scenes.changes.CONTROL_SCENES.update(before)


@pytest.mark.long
@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize("name", HOWTO)
def test_the_code_of_a_how_to_runs(name):
    assert pages.run(ROOT / f"docs/howto/{name}.md")


def test_the_chinese_notebook_runs_the_code_of_the_english_one():
    def code(name: str) -> list[str]:
        cells = json.loads((ROOT / "notebooks" / name).read_text("utf-8"))["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]

    english, chinese = code("01_sk_unit.ipynb"), code("01_sk_unit.zh.ipynb")
    assert chinese[: len(english)] == english
    assert len(chinese) == len(english) + 2
