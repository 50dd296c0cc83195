"""What four kinds of people come for, from nothing to the end, and in how many lines.

A student of the article, a researcher with a deadline, a reviewer with only a PDF, and somebody
with five thousand files. Programs are run as they would be written; their lines are counted.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image
from torch import nn

import skviz
from skviz.studies.disk import Disk

OWN = '''
import torch
from torch import nn

class Selective(nn.Module):
    """Two branches and a softmax, as anybody would write it."""
    def __init__(self, channels):
        super().__init__()
        self.small = nn.Conv2d(channels, channels, 3, padding=1)
        self.large = nn.Conv2d(channels, channels, 5, padding=2)
        self.squeeze = nn.Linear(channels, 8)
        self.excite = nn.Linear(8, 2 * channels)

    def forward(self, x):
        small, large = self.small(x).relu(), self.large(x).relu()
        z = self.squeeze((small + large).mean((2, 3))).relu()
        a = self.excite(z).view(len(x), 2, -1).softmax(1)
        return small * a[:, 0, :, None, None] + large * a[:, 1, :, None, None]

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.stem = nn.Conv2d(3, 12, 3, stride=2, padding=1)
        self.selective = Selective(12)
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        return self.head(self.selective(self.stem(x)).mean((2, 3)))
'''
CLASSES = ("cat", "cup", "dog")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model of one's own, and photographs in folders by class."""
    (tmp_path / "own.py").write_text(OWN)
    generator = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            small = generator.integers(0, 255, (6, 8, 3), np.uint8)
            picture = Image.fromarray(small).resize((96, 72), Image.Resampling.BICUBIC)
            picture.save(tmp_path / "photos" / name / f"{number}.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("own", None)


def run(program: str, lines: int) -> dict[str, object]:
    """Run a program of at most so many lines; return its names."""
    text = textwrap.dedent(program).strip()
    assert len(text.splitlines()) <= lines
    names: dict[str, object] = {}
    exec(compile(text, "walk", "exec"), names)
    return names


RESEARCHER = """
    import skviz
    from own import Net
    model = skviz.wrap(Net(), mean=[0.5] * 3, std=[0.2] * 3, categories=["cat", "cup", "dog"])
    scenes = skviz.photographs("photos").zoom(canvas=48)
    ds = skviz.sweep(model, scenes, progress=False)
    skviz.save_figure(skviz.plot.scale_response(ds), "scale.pdf", venue="cvpr")
    skviz.save_figure(skviz.plot.three_scales(ds), "three.pdf", venue="cvpr")
"""


def test_a_researcher_has_two_figures_of_a_model_and_a_folder_in_seven_lines(home):
    ds = run(RESEARCHER, 7)["ds"]
    assert isinstance(ds, xr.Dataset)
    assert ds["unit"].values.tolist() == ["selective"]
    assert ds["kernel"].values.tolist() == [[3, 5]]
    assert set(ds["category"].values) == set(CLASSES)
    assert {"scale.pdf", "three.pdf", "scale.csv"} <= {path.name for path in home.iterdir()}
    # By hand: what the network's own softmax says of the same pictures.
    from own import Net

    model = Net().eval()
    with torch.inference_mode():
        for scale in (1.0, 2.0):
            images = skviz.photographs("photos").zoom(canvas=48).render(scale)
            x = model.stem((images - 0.5) / 0.2)
            unit = model.selective
            pooled = (unit.small(x).relu() + unit.large(x).relu()).mean((2, 3))
            a = unit.excite(unit.squeeze(pooled).relu()).view(len(x), 2, -1).softmax(1).mean(2)
            found = ds["weight"].sel(unit="selective", scale=scale).transpose("image", "branch")
            np.testing.assert_allclose(found, a, atol=1e-5)


def test_a_reviewer_needs_only_the_pdf_and_what_it_says_is_missing(home):
    run(RESEARCHER, 7)
    code = (
        "import sys; from skviz.cli import main; main(['provenance', 'scale.pdf']); "
        "print('torch' in sys.modules)"
    )
    path = os.pathsep.join([str(Path(skviz.__file__).parents[1]), str(home)])
    env = {**os.environ, "PYTHONPATH": path}

    def asked(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, env=env, timeout=120
        )

    said = asked("-c", code).stdout
    assert said.endswith("False\n")  # nothing is loaded that takes long
    for known in ("scale_response", "zoom", "images_sha256"):
        assert known in said
    alone = asked("-m", "skviz", "reproduce", "scale.pdf")
    assert alone.returncode == 1
    assert "give model=" in alone.stderr
    assert "Traceback" not in alone.stderr
    from own import Net

    model = skviz.wrap(Net(), mean=[0.5] * 3, std=[0.2] * 3, categories=list(CLASSES))
    for figure in ("scale.pdf", "three.pdf"):
        found = skviz.reproduce(figure, model=model, images="photos")
        assert found["same"], found
        assert found["count"] > 10
    other = Net()
    nn.init.zeros_(other.selective.excite.bias)
    with pytest.raises(skviz.SkvizError, match="another network"):
        skviz.reproduce("scale.pdf", model=skviz.wrap(other), images="photos")


@pytest.mark.usefixtures("home")
def test_a_student_pastes_the_class_of_the_article_and_looks_at_a_picture():
    names = run(
        """
        import torch, skviz
        unit = skviz.SKAttention(64, reduction=8).eval()
        units = skviz.find_units(unit, torch.rand(2, 64, 14, 14))
        skviz.save_figure(skviz.plot.unit_diagram(unit, torch.rand(1, 64, 14, 14)), "unit.png")
        explorer = skviz.explore(skviz.load("objects"), "photos/cat/0.jpg", scales=[1.0, 1.5])
        explorer.wait()
        """,
        6,
    )
    assert [each.kernels for each in names["units"]] == [(1, 3, 5, 7)]
    with Image.open("unit.png") as drawn:
        assert drawn.width > 500
    explorer = names["explorer"]
    expected = skviz.sweep(
        skviz.load("objects"), skviz.photographs("photos/cat/0.jpg").zoom(),
        scales=[1.0, 1.5], progress=False,
    )  # fmt: skip
    np.testing.assert_allclose(explorer.ds["weight"], expected["weight"], atol=1e-4)
    explorer.close()


def test_five_thousand_files_go_on_where_they_were_stopped(home, monkeypatch):
    files = sorted((home / "photos").rglob("*.jpg"))
    for place in range(5000 - len(files)):
        first = files[place % len(files)]
        os.link(first, first.with_name(f"{place + 10}.jpg"))
    broken = home / "photos/cat/2.jpg"
    broken.unlink()  # or its links would be broken too
    broken.write_text("no picture")
    program = """
        import skviz
        from own import Net
        scenes = skviz.photographs("photos").zoom(canvas=32)
        options = dict(scales=[1.0], store="study.zarr", on_error="skip", progress=False)
        ds = skviz.sweep(Net(), scenes, batch=64, **options)
        """
    write, done = Disk.write, []

    def stopped(disk, task, *rest):
        if len(done) == 12:
            raise KeyboardInterrupt
        done.append(task)
        write(disk, task, *rest)

    monkeypatch.setattr(Disk, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(program, 5)
    assert 0 < len(Disk(home / "study.zarr").pending()) < 40
    redone: list[int] = []

    def noted(disk, task, *rest):
        redone.append(task)
        write(disk, task, *rest)

    monkeypatch.setattr(Disk, "write", noted)
    ds = run(program, 5)["ds"].load()
    assert redone
    assert not set(redone) & set(done)
    assert ds.sizes["image"] == 5000
    missing = ds["weight"].isnull().all(("scale", "unit", "branch"))
    assert ds["image"].values[missing.values].tolist() == ["cat/2.jpg"]
    # All links to one file have its weights.
    larger = ds["weight"].isel(scale=0, unit=0, branch=1).dropna("image")
    assert 1 < len(np.unique(larger.values.round(5))) <= len(files)
