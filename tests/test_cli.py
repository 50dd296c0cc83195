import pytest

from skviz import cli, store


def test_figures(tmp_path, capsys):
    assert cli.main(["figures", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        f"{name}.{ending}"
        for name in ("branch_heatmap", "scale_response", "three_scales")
        for ending in ("pdf", "png")
    }
    rows = [line.split() for line in printed.splitlines() if line.startswith("stage")]
    assert [row[0] for row in rows] == [f"stage{s}.{u}.sk" for s in (1, 2, 3) for u in (0, 1)]
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


def test_a_mistake_is_one_line(tmp_path, capsys):
    assert cli.main(["figures", "--model", "nothing", "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("skviz: no network 'nothing'")
    assert error.count("\n") == 1


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("figures", "sweep", "train"))
