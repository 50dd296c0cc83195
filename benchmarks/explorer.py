"""How fast the explorer follows a hand, in a real JupyterLab and a real browser.

One notebook is opened with 24 scales and all units of the shipped network. Then

* *first view*: from running the cell to the first drawing, in a kernel that has imported nothing
  but skviz and loaded the network (cold), and in one that has explored before (warm);
* *sliding*: the mouse takes the slider's thumb through 60 steps in 2 seconds. A frame counts as
  drawn when an animation frame of its own follows its input event; its latency is the time between
  the two;
* *off the grid*: the mouse drags the object through 40 places in 4 seconds; the latency is from a
  question to the kernel to the drawing of its answer.

Run it on a quiet machine: `python benchmarks/explorer.py` (about a minute; needs chromium).
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.browser.conftest import CHROMIUM, Lab

SETUP = "import numpy as np, skviz\nmodel = skviz.load('objects')\nobjects = skviz.objects()"
EXPLORE = "skviz.explore(model, objects, scales=np.linspace(0.5, 2, 24).tolist())"
# Time of every input event, and of the animation frame after it, with what is then shown.
WATCH = """() => {
    const root = [...document.querySelectorAll('.skviz')].at(-1);
    window.frames_ = [];
    root.querySelector('input.scale').addEventListener('input', (event) => {
        const made = event.timeStamp;
        requestAnimationFrame(() => frames_.push([made, performance.now(),
            root.querySelector('.unit .value').textContent, event.target.value]));
    });
}"""
# Time from each question to the drawing of its answer.
ASKED = """() => {
    const root = [...document.querySelectorAll('.skviz')].at(-1);
    const times = {};
    window.answers_ = [];
    new MutationObserver((changes) => changes.forEach(({attributeName}) => {
        if (attributeName === 'data-asked') times[root.dataset.asked] = performance.now();
        else answers_.push(performance.now() - times[root.dataset.answered]);
    })).observe(root, {attributes: true, attributeFilter: ['data-asked', 'data-answered']});
}"""


def move(page: Page, places: list[tuple[float, float]], seconds: float) -> float:
    """Move the pressed mouse through the places in this time; return when the last was sent."""
    start = time.perf_counter()
    for index, place in enumerate(places):
        page.mouse.move(*place)
        left = start + (index + 1) * seconds / len(places) - time.perf_counter()
        if left > 0:
            time.sleep(left)
    return time.perf_counter() - start


def main() -> None:
    lab = Lab(Path(tempfile.mkdtemp()))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        name = lab.notebook("speed.ipynb", SETUP, EXPLORE, EXPLORE)
        notebook = lab.open(browser, name, height=2400)
        page = notebook.page
        notebook.run(0)
        for number, kind in enumerate(("cold", "warm")):
            start = time.perf_counter()
            notebook.run(number + 1, wait=False)
            page.locator(".skviz").nth(number).locator(".change:not(:empty)").first.wait_for()
            print(f"first view, {kind}: {time.perf_counter() - start:.2f} s")
        view = page.locator(".skviz").nth(1)
        view.scroll_into_view_if_needed()
        sent = notebook.python("", "len(_.grid['images']) + len(_.grid['weights'])")
        print(f"sent: {int(sent) / 1e6:.2f} MB for 24 scales")

        page.evaluate(WATCH)
        page.wait_for_timeout(1000)
        before = len(notebook.sent)
        box = view.locator("input.scale").bounding_box()
        height = box["y"] + box["height"] / 2
        steps = np.resize([*range(24), *range(22, 0, -1)], 61)  # up and down, each another scale
        thumb = 16  # pixels; its middle is where the mouse is
        at = box["x"] + thumb / 2 + steps / 23 * (box["width"] - thumb)
        page.mouse.move(at[0], height)
        page.mouse.down()
        page.evaluate("frames_ = []")
        took = move(page, [(x, height) for x in at[1:]], 2.0)
        asked = sum("comm_msg" in str(frame) for frame in notebook.sent[before:])
        page.mouse.up()
        frames = np.array([frame[:2] for frame in page.evaluate("frames_")])  # made, drawn, in ms
        late = frames[:, 1] - frames[:, 0]
        print(
            f"sliding: 60 steps in {took:.2f} s, {len(np.unique(frames[:, 1]))} frames drawn; "
            f"latency median {np.median(late):.1f}, "
            f"p95 {np.quantile(late, 0.95):.1f}, last {late[-1]:.1f} ms; "
            f"{asked} messages to the kernel"
        )

        view.get_by_label("Object", exact=True).select_option("penguin")
        page.wait_for_timeout(3000)
        page.evaluate(ASKED)
        box = view.locator(".frame").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        turn = np.linspace(0, 2 * np.pi, 40)
        move(page, [(x + 30 * np.sin(t), y + 30 * np.cos(t) - 30) for t in turn], 4.0)
        page.wait_for_timeout(1000)
        page.mouse.up()
        late = np.array(page.evaluate("answers_"))
        print(
            f"off the grid: {len(late)} answers to 40 places; latency median "
            f"{np.median(late):.0f}, p95 {np.quantile(late, 0.95):.0f} ms"
        )
        browser.close()
    lab.stop()


if __name__ == "__main__":
    main()
