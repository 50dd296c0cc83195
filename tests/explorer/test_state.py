"""state.js without a browser, by the node that playwright brings."""

import re
import subprocess
from pathlib import Path

import playwright

from skviz.explorer import page

HERE = Path(__file__).parent
NODE = Path(playwright.__file__).parent / "driver" / "node"


def test_what_is_seen_is_what_is_said():
    command = [NODE, "--no-warnings", "--test", HERE / "state.test.mjs"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"pass (\d+)", done.stdout)[1]) > 12


def test_one_piece_of_javascript_holds_every_module_after_what_it_needs():
    names = {path.stem for path in page.HERE.glob("js/*.js")}
    assert names == set(page.MODULES)
    for number, name in enumerate(page.MODULES):
        text = (page.HERE / "js" / f"{name}.js").read_text()
        assert set(re.findall(r'from "\./(\w+)\.js"', text)) <= set(page.MODULES[:number])
    assert "import " not in re.sub(r"//.*", "", page.JAVASCRIPT)
    assert re.findall(r"^export .*", page.JAVASCRIPT, re.MULTILINE) == ["export default {render};"]
    given = re.findall(r"^(?:const|function) (\w+)", page.JAVASCRIPT, re.MULTILINE)
    assert len(given) == len(set(given))  # no module hides another's
