import json
import re
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import skviz
from skviz import cli, plot
from skviz.figures.sets import FigureSet
from skviz.studies import store

SIX_UNITS = [f"stage{stage}.{unit}.sk" for stage in (1, 2, 3) for unit in (0, 1)]


def test_figures(tmp_path, capsys):
    words = ["figures", "--out", str(tmp_path / "out"), "--only", "scale_response", "overview"]
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {f"{name}.{ending}" for name in ("overview", "scale_response") for ending in
            ("pdf", "png")} | {"scale_response.csv"} <= names  # fmt: skip
    rows = [line.split() for line in printed.splitlines() if line.startswith("stage")]
    assert [row[0] for row in rows] == SIX_UNITS
    for row in rows:
        low, high = float(row[4]), float(row[6])
        assert low < float(row[3]) < high
        assert row[1:3] == ["3,", "5"]
        assert row[7].endswith("%")


def test_sweep_keeps_a_store(tmp_path, capsys):
    words = ["--scales", "0.5,1,2", "--family", "fxemoji", "--category", "bus", "rocket"]
    assert cli.main(["sweep", str(tmp_path / "s.zarr"), *words]) == 0
    ds = store.load(tmp_path / "s.zarr")
    assert ds["image"].values.tolist() == ["fxemoji/bus", "fxemoji/rocket"]
    assert ds["scale"].values.tolist() == [0.5, 1, 2]
    assert "towards larger" in capsys.readouterr().out


CONFIG = """
formats = ["svg", "png"]
venue = "neurips"
name = "SKNet-6"
labels."stage1.0.sk" = "first"

[study.buses]
family = ["fxemoji"]
first = 3
scales = [1.0, 1.5]

[study.kept]
store = "{store}"

[[figure]]
plot = "scale_response"
study = "buses"
name = "response"
example = 1

[[figure]]
plot = "branch_heatmap"
study = "kept"
width = 4.0
anonymous = true

[[figure]]
plot = "panel"
of = ["response", "branch_heatmap"]
"""


def test_export_draws_what_a_file_says_and_prints_latex(ds, tmp_path, capsys):
    kept = store.save(ds, tmp_path / "kept.zarr")
    (tmp_path / "set.toml").write_text(CONFIG.format(store=kept))
    assert cli.main(["export", str(tmp_path / "set.toml"), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    for name in ("response", "branch_heatmap", "panel"):
        assert rf"\includegraphics{{{name}.svg}}" in printed
        assert (tmp_path / "out" / f"{name}.png").is_file()
    assert cli.main(["provenance", str(tmp_path / "out" / "response.svg")]) == 0
    known = json.loads(capsys.readouterr().out)
    assert (known["figure"], known["model"]) == ("scale_response", "objects")
    assert known["parameters"]["example"] == 1
    assert (known["labels"], known["name"]) == ({"stage1.0.sk": "first"}, "SKNet-6")
    assert ">first<" in (tmp_path / "out" / "response.svg").read_text()
    assert "network SKNet-6" in printed
    cli.main(["provenance", str(tmp_path / "out" / "branch_heatmap.png")])
    assert "model" not in json.loads(capsys.readouterr().out)
    cli.main(["provenance", str(tmp_path / "out" / "panel.svg")])
    assert len(json.loads(capsys.readouterr().out)["parts"]) == 2
    with Image.open(tmp_path / "out" / "branch_heatmap.png") as picture:
        assert picture.width == 4 * 300


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[[figure]]", "[figure"), "TOML"),
        (('venue = "neurips"', 'place = "neurips"'), "place"),
        (('venue = "neurips"', 'venue = "nurips"'), "no venue 'nurips'"),
        (('plot = "scale_response"', 'plot = "pie"'), "'response' needs .* plot of"),
        (('study = "buses"', 'study = "cars"'), "no study 'cars'"),
        (("example = 1", "exemple = 1"), "'response' cannot be drawn.*exemple"),
        (("first = 3", 'run = "dance"'), "line 7: .*run must be 'sweep' or"),
        (("first = 3", "scale = 3"), "'buses' cannot be run.*scale"),
        (('["response", "branch_heatmap"]', '["nothing"]'), "no figure 'nothing'"),
    ],
)
def test_mistakes_in_the_file_are_named(change, message, ds, tmp_path, capsys):
    kept = store.save(ds, tmp_path / "kept.zarr")
    (tmp_path / "set.toml").write_text(CONFIG.format(store=kept).replace(*change))
    only = ["--only", "panel"] if "nothing" in message else []
    words = ["export", str(tmp_path / "set.toml"), "--out", str(tmp_path / "out"), *only]
    assert cli.main(words) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_the_shipped_set_holds_every_figure_of_studies():
    made = FigureSet(Path(cli.__file__).parent / "figures" / "figures.toml")
    drawn = {entry["plot"] for entry in made.entries.values()}
    assert set(plot.__all__) == drawn


def test_sweep_a_folder(tmp_path, capsys):
    for name in ("cat/a.png", "dog/b.png", "dog/c.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), "red").save(tmp_path / "photos" / name)
    (tmp_path / "photos/dog/c.png").write_text("no image")
    words = ["sweep", str(tmp_path / "s.zarr"), "--folder", str(tmp_path / "photos")]
    words += ["--scales", "1,2", "--on-error"]
    assert cli.main([*words, "stop"]) == 1
    assert "dog/c.png" in capsys.readouterr().err
    assert cli.main([*words, "skip"]) == 0
    printed = capsys.readouterr().out
    assert "skipped dog/c.png: UnidentifiedImageError" in printed
    assert "2 images" in printed


def test_sweep_some_categories_of_a_folder(tmp_path, capsys):
    for name in ("cat/a.png", "dog/b.png", "dog/c.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), "red").save(tmp_path / "photos" / name)
    words = ["sweep", str(tmp_path / "s.zarr"), "--folder", str(tmp_path / "photos")]
    words += ["--scales", "1,2"]
    assert cli.main([*words, "--category", "dog"]) == 0
    assert store.load(tmp_path / "s.zarr")["image"].values.tolist() == ["dog/b.png", "dog/c.png"]
    for wrong, said in (
        (["--category", "bird"], "bird.*cat.*dog"),
        (["--family", "noto"], "family"),
    ):
        assert cli.main([*words, *wrong]) == 1
        assert re.search(said, capsys.readouterr().err)
    assert cli.main(["sweep", str(tmp_path / "t.zarr"), "--protocol", "zoom"]) == 1


def test_a_mistake_is_one_line(tmp_path, capsys):
    assert cli.main(["figures", "--model", "nothing", "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("skviz: no network 'nothing'")
    assert error.count("\n") == 1


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("export", "figures", "provenance", "sweep", "units"))


def test_units(capsys):
    assert cli.main(["units", "objects-3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == SIX_UNITS
    assert all(line.split()[1:5] == ["3", "3,", "5,", "7"] for line in lines[1:])
    assert cli.main(["units", "timm/skresnet18", "--side", "64"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 8  # two in each of four stages


def test_its_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"skviz {skviz.__version__}\n"


OWN = """
import skviz
from skviz.models.nn import SKNet
def make():
    return skviz.wrap(SKNet((1,), (32,), num_classes=2), canvas=32, name="mine")
def nothing():
    return 3
"""


def test_a_network_of_ones_own_by_its_function(tmp_path, monkeypatch, capsys):
    (tmp_path / "ownmodels.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert cli.main(["units", "ownmodels:make", "--json", "--device", "cpu"]) == 0
    (unit,) = json.loads(capsys.readouterr().out)
    model = skviz.load("ownmodels:make")
    (found,) = skviz.find_units(model, torch.rand(2, 3, 32, 32))
    assert unit["name"] == found.name
    assert tuple(unit["kernels"]) == found.kernels == (3, 5)
    assert sys.path == before
    for wrong, said in (
        ("ownmodels:nothing", "int, not a torch module"),
        ("ownmodels:absent", "AttributeError"),
        ("nowhere.atall:make", "ModuleNotFoundError"),
    ):
        assert cli.main(["units", wrong]) == 1
        assert said in capsys.readouterr().err


def test_who_stops_it_is_told_how_to_go_on(monkeypatch, capsys, tmp_path):
    def stopped(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run_sweep", stopped)
    assert cli.main(["sweep", str(tmp_path / "s.zarr")]) == 130
    assert "goes on" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["figures", "export", "provenance", "reproduce", "units", "sweep"])
def test_help_has_an_example_and_defaults(name, capsys):
    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    said = capsys.readouterr().out
    assert f"example: skviz {name}" in said
    assert "(default: auto)" in said
    assert "(default: None)" not in said
    example = said.split("example: skviz ")[1].split()
    assert cli.parser().parse_args(example)
