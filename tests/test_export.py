import hashlib
import re
import subprocess
import sys
import zlib

import pytest
from PIL import Image

import skviz
from skviz.errors import SkvizError

ANOTHER_PROCESS = """
import sys, hashlib, pathlib, skviz
from skviz import store
fig = skviz.plot.scale_response(store.load(sys.argv[1]))
path = skviz.save_figure(fig, sys.argv[2])
print(hashlib.sha256(path.read_bytes()).hexdigest())
"""


@pytest.mark.parametrize("ending", ["pdf", "png", "svg"])
def test_two_processes_write_the_same_bytes(ds, tmp_path, ending):
    from skviz import store

    study = store.save(ds, tmp_path / "study.zarr")
    here = skviz.save_figure(skviz.plot.scale_response(ds), tmp_path / f"here.{ending}")
    there = subprocess.run(
        [sys.executable, "-c", ANOTHER_PROCESS, study, tmp_path / f"there.{ending}"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert there.stdout.strip() == hashlib.sha256(here.read_bytes()).hexdigest()


def test_pdf_has_the_exact_width_and_only_truetype_fonts(ds, tmp_path):
    content = skviz.save_figure(skviz.plot.three_scales(ds), tmp_path / "f.pdf").read_bytes()
    left, _, right, _ = map(float, re.search(rb"MediaBox \[ ?([^\]]+)\]", content)[1].split())
    assert right - left == pytest.approx(3.25 * 72, abs=0.01)
    assert b"/Type3" not in content
    assert b"/FontFile2" in content
    streams = re.findall(rb"stream\n(.*?)\nendstream", content, re.DOTALL)
    assert len(streams) > 3
    assert any(b"Tf" in zlib.decompress(s) for s in streams if s[:1] == b"x")
    assert b"CreationDate" not in content


def test_png_has_300_dpi(ds, tmp_path):
    figure = skviz.plot.branch_heatmap(ds)
    with Image.open(skviz.save_figure(figure, tmp_path / "new" / "f.png")) as picture:
        assert picture.width == round(3.25 * 300)
        assert picture.info["dpi"][0] == pytest.approx(300, abs=0.1)


def test_other_endings_are_refused(ds, tmp_path):
    with pytest.raises(SkvizError, match=r"f\.gif.*\.pdf"):
        skviz.save_figure(skviz.plot.branch_heatmap(ds), tmp_path / "f.gif")
    assert list(tmp_path.iterdir()) == []
