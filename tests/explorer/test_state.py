"""state.js without a browser, by the node that playwright brings."""

import re
import subprocess
from pathlib import Path

import playwright
import pytest

from skviz.explorer import page

HERE = Path(__file__).parent
NODE = Path(playwright.__file__).parent / "driver" / "node"


def test_what_is_seen_is_what_is_said():
    command = [NODE, "--no-warnings", "--test", HERE / "state.test.mjs"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"pass (\d+)", done.stdout)[1]) > 12


@pytest.mark.parametrize("modules", [page.VIEW, page.WORKER])
def test_one_piece_of_javascript_holds_every_module_after_what_it_needs(modules):
    for number, name in enumerate(modules):
        text = (page.HERE / "js" / f"{name}.js").read_text()
        assert set(re.findall(r'from "\./(\w+)\.js"', text)) <= set(modules[:number])
    whole = page.joined(modules)
    assert not re.findall(r"^import ", whole, re.MULTILINE)
    exported = re.findall(r"^export .*", whole, re.MULTILINE)
    assert exported == (["export default {render};"] if modules is page.VIEW else [])
    given = re.findall(r"^(?:const|function) (\w+)", whole, re.MULTILINE)
    assert len(given) == len(set(given))  # no module hides another's


def test_every_module_is_somewhere():
    names = {path.stem for path in page.HERE.glob("js/*.js")}
    assert names == {*page.VIEW, *page.WORKER}
