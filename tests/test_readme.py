"""What the README says must be so."""

import json
import re
from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest
import xarray as xr

import skviz
from recipes import findings
from skviz.scenes import cutouts
from tests import pages

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_its_code_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = pages.run(ROOT / "README.md")
    assert (tmp_path / "scale.pdf").stat().st_size > 10_000
    assert isinstance(names["ds"], xr.Dataset)
    assert isinstance(names["figure"], matplotlib.figure.Figure)
    assert "stage3.1.sk" in capsys.readouterr().out


def test_the_chinese_one_runs_and_promises_what_this_one_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chinese = (ROOT / "README.zh.md").read_text()
    names = pages.run(ROOT / "README.zh.md")
    (weights,) = names["recording"].weights.values()
    assert weights.shape == (2, 2, 64)
    assert (tmp_path / "scale.pdf").stat().st_size > 10_000
    for block in pages.blocks(ROOT / "README.zh.md", "console"):
        assert block in README  # the same commands
    linked = re.findall(r"\]\(([^)#:]+)[)#]", chinese)
    assert {"README.md", "docs/scale_response.png"} <= set(linked)
    assert [path for path in linked if not (ROOT / path).exists()] == []
    for section in re.findall(r"README\.md#([\w-]+)", chinese):
        titles = [t.lower().replace(" ", "-") for t in re.findall(r"^## (.+)$", README, re.M)]
        assert section in titles


def test_its_table_is_what_make_figures_prints(tmp_path, capsys):
    """To one unit of the last digit, on any processor; and it is rounded once."""
    from skviz import cli

    cli.main(["figures", "--out", str(tmp_path), "--only", "scale_response"])
    printed = re.findall(
        r"^(stage\S+) +3, 5 +([+-][\d.]+) +([+-][\d.]+) … ([+-][\d.]+) +(\d+)%",
        capsys.readouterr().out,
        re.MULTILINE,
    )
    stated = re.findall(
        r"^\| (stage\S+) \| ([+-][\d.]+) \| ([+-][\d.]+) … ([+-][\d.]+) \| (\d+) % \|",
        README,
        re.MULTILINE,
    )
    assert len(stated) == len(printed) == 6
    for said, measured in zip(stated, printed, strict=True):
        assert said[0] == measured[0]
        for one, other in zip(said[1:4], measured[1:4], strict=True):
            assert float(one) == pytest.approx(float(other), abs=0.00056)
        assert int(said[4]) == pytest.approx(int(measured[4]), abs=1)


def test_its_findings_are_written_from_the_numbers_that_were_kept():
    assert findings.written(README) == README


def test_the_numbers_that_were_kept_are_those_of_the_network():
    """A part of them, measured again: what no test could do in its time is the rest."""
    kept = json.loads(findings.KEPT.read_text())
    model = skviz.load("objects")
    objects = skviz.objects(family=cutouts.HELD_OUT_FAMILIES)
    backgrounds = findings.photographed(len(objects), 0)
    scenes = skviz.place(objects, backgrounds=backgrounds)
    swept = skviz.sweep(model, scenes, scales=[0.5, 2.0], progress=False)
    found = findings.table(skviz.stats.shift(swept, cluster=findings.CLUSTER))
    for name, values in found.items():
        np.testing.assert_allclose(values, kept["photographed"][name], atol=0.008, err_msg=name)
    np.testing.assert_allclose(found["estimate"], kept["photographed"]["estimate"], atol=1e-4)
    some = skviz.place(objects, seed=1)
    ds = skviz.controls(
        model, some, scales=[0.5, 2.0], names=("copies", "size"), seeds=0, progress=False
    )
    for name in ("object", "copies", "size"):
        mean = ds["shift"].sel(control=name).mean("image")
        np.testing.assert_allclose(mean, kept["controls"][name]["estimate"], atol=1e-4)


def test_every_path_in_it_exists():
    for path in re.findall(r"[(`]((?:docs|notebooks|benchmarks|data)/[\w./-]*)", README):
        assert (ROOT / path).exists(), path
