"""What a user installs."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

import skviz
from skviz import assets

ROOT = Path(__file__).parent.parent
USE_IT = """
import skviz
from skviz import assets
from skviz.scenes import cutouts
print(assets.data_folder())
assert len(skviz.objects()) == 402
ds = skviz.sweep(skviz.load("objects"), skviz.objects(category="bus"), scales=[1.0])
assert ds.sizes["image"] == 6
"""


RECORD_IT = """
model, images = skviz.load("objects"), torch.rand(3, 3, 96, 96)
with skviz.record(model) as recording:
    model(images)
assert len(recording.weights) == 6
"""


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import skviz", ["torch", "numpy", "matplotlib", "xarray"]),
        (f"import skviz, torch{RECORD_IT}", ["torch._dynamo", "torchvision", "scipy.stats"]),
    ],
)
def test_what_takes_seconds_is_imported_only_when_it_is_needed(code, heavy):
    asked = f"{code}\nimport sys; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""


def test_every_entry_point_is_there():
    for name in skviz.__all__:
        assert getattr(skviz, name) is not None
    assert {"__version__", *dir(skviz)} == set(skviz.__all__)
    with pytest.raises(AttributeError, match="attribute nothing"):
        _ = skviz.nothing


def test_the_licence_names_all_that_ships():
    """Of every licence in ATTRIBUTION the expression has a part, and of every part there is one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    said = (ROOT / "data/ATTRIBUTION").read_text()
    named = {
        "MIT": "MIT",
        "Apache-2.0": "Apache-2.0",
        "CC BY 4.0": "CC-BY-4.0",
        "CC0 1.0": "CC0-1.0",
    }
    found = re.findall(r"Licence: +(MIT|Apache-2\.0|CC BY 4\.0|CC0 1\.0|public domain)", said)
    assert len(found) == said.count("Licence:")
    parts = {named[each] for each in found if each in named}
    assert parts == set(project["license"].split(" AND "))
    assert "data/ATTRIBUTION" in project["license-files"]


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (cited["title"], cited["version"]) == (project["name"], project["version"])


def test_a_wheel_outside_the_checkout_finds_its_data(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    assert wheel.stat().st_size < 15e6
    (told,) = tmp_path.glob("site/*.dist-info")
    assert {path.name for path in told.rglob("licenses/**/*")} >= {"LICENSE", "ATTRIBUTION"}
    assert (tmp_path / "site/skviz/py.typed").exists()  # else a user's mypy takes all for Any
    elsewhere = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", USE_IT], cwd=tmp_path, env=elsewhere, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    assert Path(done.stdout.strip()) == tmp_path / "site" / "skviz" / "_data"


def test_of_the_data_a_wheel_leaves_out_the_photographs_and_their_network_alone():
    packed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    packed = packed["targets"]["wheel"]["force-include"]
    assert all(to == f"skviz/_{source}" for source, to in packed.items())
    files = {f"data/{name}" for name in assets.manifest()}
    held = {f for f in files if any(f == s or f.startswith(f"{s}/") for s in packed)}
    assert {"/".join(f.split("/")[:2]) for f in files - held} == {"data/caltech", "data/models"}
    assert {f for f in files - held if "models" in f} == {
        "data/models/caltech.md", "data/models/caltech.safetensors"}  # fmt: skip


def names(requirements: list[str]) -> dict[str, str]:
    """Package names and their bounds."""
    return dict(re.match(r"([\w-]+?)(?:-base)?(>=.*)", line).groups() for line in requirements)


def test_conda_asks_for_the_same_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "environment.yml").read_text()
    conda = names(re.findall(r"^ +- (\S+>=\S+)$", text, re.MULTILINE))
    assert conda.pop("python") == project["requires-python"]
    conda["torch"] = conda.pop("pytorch")
    assert conda == names(project["dependencies"])


def test_pip_accepts_what_conda_hands_it_and_fetches_nothing_else(tmp_path):
    """As `conda env create` calls it, but without an index: all else must be there already."""
    asked = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (section,) = (part["pip"] for part in asked if isinstance(part, dict))
    assert any("editable" in line for line in section)
    (tmp_path / "requirements.txt").write_text("\n".join(section))
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--upgrade", "--dry-run", "--no-index",
         "--no-build-isolation", "--requirement", str(tmp_path / "requirements.txt")],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.findall("^Would install (.*)", done.stdout, re.MULTILINE) == [
        f"skviz-{version('skviz')}"
    ]


def test_the_lock_names_hashes_and_no_index():
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    pinned = re.findall(r"^[\w.-]+==\S+", lock, re.MULTILINE)
    assert len(pinned) > 100
    assert lock.count("--hash=sha256:") > len(pinned)
