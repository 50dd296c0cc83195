"""What the README says must be so."""

import json
import re
from pathlib import Path

import matplotlib.figure
import pytest
import xarray as xr

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_its_code_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(block, names)
    assert (tmp_path / "scale.pdf").stat().st_size > 10_000
    assert isinstance(names["ds"], xr.DataTree)
    assert isinstance(names["figure"], matplotlib.figure.Figure)
    assert "stage3.1.sk" in capsys.readouterr().out


def test_its_table_is_what_make_figures_prints(tmp_path, capsys):
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
            assert float(one) == pytest.approx(float(other), abs=0.0011)
        assert int(said[4]) == pytest.approx(int(measured[4]), abs=1)


def test_its_table_of_controls_is_what_the_notebook_shows():
    notebook = json.loads((ROOT / "notebooks" / "03_attributions.ipynb").read_text())
    (cell,) = (c for c in notebook["cells"] if 'compared["estimate"]' in "".join(c["source"]))
    text = "".join(cell["outputs"][-1]["data"]["text/plain"])
    measured: dict[str, list[float]] = {}
    for name, row in re.findall(r"^(\w+) {2,}((?:-?0\.\d{3} *)+)$", text, re.MULTILINE):
        measured.setdefault(name, []).extend(map(float, row.split()))
    stated = dict(
        zip(
            ("object", "scrambled", "silhouette", "blur", "background", "position"),
            re.findall(r"^\|[^|]+\|((?: [+−]0\.\d{3} \|){6})$", README, re.MULTILINE),
            strict=True,
        )
    )
    for name, row in stated.items():
        numbers = [float(n.replace("−", "-")) for n in re.findall(r"[+−]0\.\d{3}", row)]
        assert numbers == pytest.approx(measured[name], abs=0.0015), name


def test_every_path_in_it_exists():
    for path in re.findall(r"[(`]((?:docs|notebooks|benchmarks|data)/[\w./-]*)", README):
        assert (ROOT / path).exists(), path
