"""What a release must do: `python -m tests.release` builds the wheel and uses it as a stranger.

The wheel is installed with the locked versions of what it needs in an empty environment, outside
the checkout; there the command draws a figure, and what the notebooks import is imported.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from email import message_from_bytes
from pathlib import Path

from packaging.metadata import Metadata

ROOT = Path(__file__).parent.parent
LIMIT = 15  # MB
UV = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"


def run(*words: object, cwd: Path) -> None:
    """Run a command; it must succeed."""
    print("$", *(str(word).replace(str(cwd), "…") for word in words), flush=True)
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([str(word) for word in words], cwd=cwd, check=True, env=alone)


def imported() -> set[str]:
    """Name the modules that the notebooks import."""
    found = set()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] == "code":
                found |= set(
                    re.findall(r"^(?:import|from) ([\w.]+)", "".join(cell["source"]), re.M)
                )
    return {name for name in found if not name.startswith("recipes")}  # beside them, not in it


def check(wheel: Path) -> None:
    """Look into a wheel."""
    size = wheel.stat().st_size / 1e6
    print(f"{wheel.name}: {size:.1f} MB")
    assert size <= LIMIT, f"the wheel has {size:.1f} MB, more than {LIMIT}"
    with zipfile.ZipFile(wheel) as held:
        names = held.namelist()
        (said,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        content = held.read(said)
    Metadata.from_email(content, validate=True)
    assert message_from_bytes(content)["License-Expression"]
    for wanted in ("skviz/py.typed", "skviz/_data/ATTRIBUTION", "skviz/explorer/js/view.js"):
        assert wanted in names, f"{wanted} is not in the wheel"
    assert any(name.endswith("licenses/data/ATTRIBUTION") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "recipes/", "notebooks/"))]


def main() -> None:
    """Build, look, install, use."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        run(UV, "build", "--wheel", "--no-build-isolation", "--python", sys.executable,
            "--out-dir", here, ROOT, cwd=here)  # fmt: skip
        (wheel,) = here.glob("*.whl")
        check(wheel)
        python = here / "env" / "bin" / "python"
        run(UV, "venv", "--quiet", "--python", sys.executable, here / "env", cwd=here)
        lock = here / "lock.txt"
        lock.write_text(
            "\n".join(
                re.findall(r"^[\w.-]+==[^\\\n]+", (ROOT / "requirements.lock").read_text(), re.M)
            )
        )
        run(UV, "pip", "install", "--quiet", "--python", python, "--constraint", lock,
            f"{wheel}[notebooks]", cwd=here)  # fmt: skip
        inside = f"import skviz; assert skviz.__file__.startswith({str(here)!r}), skviz.__file__"
        run(python, "-c", inside, cwd=here)
        for name in sorted(imported()):
            run(python, "-c", f"import {name}", cwd=here)
        run(python.with_name("skviz"), "figures", "--only", "scale_response", cwd=here)
        assert (here / "figures" / "scale_response.pdf").read_bytes().startswith(b"%PDF")
    print("the wheel does what it should")


if __name__ == "__main__":
    main()
