import csv
import getpass
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
import zlib
from pathlib import Path
from typing import Any

import figure_types
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from matplotlib.figure import Figure
from PIL import Image

import skviz
from skviz import plot
from skviz.errors import DataError, SkvizError
from skviz.figures import provenance, record
from skviz.figures.saving import FORMATS, latex
from skviz.figures.sets import FigureSet
from skviz.plot import style, venues
from skviz.studies import store

WIDTHS = {  # points: as the authors' instructions state them, column and text
    "cvpr": (236.25, 6.875 * 72),
    "iccv": (236.25, 6.875 * 72),
    "icml": (3.25 * 72, 6.75 * 72),
    "neurips": (5.5 * 72, 5.5 * 72),
    "iclr": (5.5 * 72, 5.5 * 72),
    "eccv": (122 / 25.4 * 72, 122 / 25.4 * 72),
    "lncs": (122 / 25.4 * 72, 122 / 25.4 * 72),
    "ieee": (3.5 * 72, 7.16 * 72),
    "tpami": (3.5 * 72, 7.16 * 72),
    "nature": (89 / 25.4 * 72, 183 / 25.4 * 72),
    "thesis": (16 / 2.54 * 72, 16 / 2.54 * 72),
    "slides": (14 / 2.54 * 72, 14 / 2.54 * 72),  # beamer 16:9 is 16 cm wide, less two margins
}
ANOTHER_PROCESSOR = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OMP_NUM_THREADS": "2",
    "OPENBLAS_CORETYPE": "Nehalem",
    "OPENBLAS_NUM_THREADS": "2",
}
MEASURED_AND_DRAWN = """
import sys, torch, skviz
from skviz.models.nn import SKNet
from skviz.studies import store
def drawn(study, folder, endings):
    kept = skviz.plot.scale_response(store.load(study))
    for ending in endings.split():
        skviz.save_figure(kept, f"{folder}/f{ending}", venue="neurips")
    torch.manual_seed(1)
    model = SKNet((1, 1), (8, 16), num_classes=7, stem_channels=8, stem_stride=2, groups=2).eval()
    scenes = skviz.place(skviz.objects(family="noto")[:5], canvas=32)
    for number in (1, 2):
        torch.set_num_threads(number)
        ds = skviz.sweep(model, scenes, scales=[0.5, 1, 1.5, 2], progress=False, device="cpu")
        skviz.save_figure(skviz.plot.branch_heatmap(ds), f"{folder}/{number}.svg")
if __name__ == "__main__":
    drawn(*sys.argv[1:])
"""


@pytest.fixture(scope="module")
def sweep():
    return figure_types.made_up()


@pytest.fixture(scope="module")
def figure(sweep):
    return plot.scale_response(sweep, example=1)


def page_width(content: bytes) -> float:
    left, _, right, _ = map(float, re.search(rb"MediaBox \[ ?([^\]]+)\]", content)[1].split())
    return right - left


def same_bytes(one: Path, two: Path, pattern: str) -> bool:
    names = sorted(path.name for path in one.glob(pattern))
    assert names == sorted(path.name for path in two.glob(pattern))
    return all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


@pytest.mark.long
def test_the_same_data_give_the_same_bytes_on_every_processor(ds, tmp_path):
    study = store.save(ds, tmp_path / "study.zarr")
    one, two, endings = tmp_path / "one", tmp_path / "two", " ".join(FORMATS)
    this: dict[str, Any] = {"__name__": "this process"}
    exec(MEASURED_AND_DRAWN, this)
    before = torch.get_num_threads()
    try:
        this["drawn"](study, one, endings)
    finally:
        torch.set_num_threads(before)
    words = [sys.executable, "-c", MEASURED_AND_DRAWN, study, two, endings]
    subprocess.run(words, check=True, env=os.environ | ANOTHER_PROCESSOR)
    assert len(list(one.glob("f*"))) > len(FORMATS)
    assert same_bytes(one, two, "f.*"), "the same data were written in two ways"
    # What is measured anew agrees to the last digit that is written, if not in every bit.
    tables = [
        pd.concat([pd.read_csv(path).select_dtypes("number") for path in sorted(p)])
        for p in (one.glob("1.*csv"), one.glob("2.*csv"), two.glob("1.*csv"), two.glob("2.*csv"))
    ]
    for table in tables[1:]:
        np.testing.assert_allclose(table, tables[0], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", venues.VENUES)
def test_the_page_is_as_wide_as_the_venue_says(name, sweep, tmp_path):
    figure = plot.branch_heatmap(sweep)
    for width, expected in zip(("column", "text"), WIDTHS[name], strict=True):
        path = skviz.save_figure(figure, tmp_path / "f.pdf", venue=name, width=width)
        assert page_width(path.read_bytes()) == pytest.approx(expected, abs=0.5)
    assert figure.get_figwidth() == 3.28125  # the one given is not changed


def test_a_figure_is_drawn_again_with_the_fonts_of_its_venue(figure, tmp_path):
    path = skviz.save_figure(figure, tmp_path / "f.svg", venue="neurips", width=4.2)
    root = ET.parse(path).getroot()
    assert root.get("width") == f"{4.2 * 72:g}pt"
    sizes = {float(s) for s in re.findall(r"font-size: ([\d.]+)px", path.read_text())}
    assert sizes == {8, 9}  # of 10-point text: labels one less, ticks and legend two


def test_other_peoples_figures_are_laid_out_anew(tmp_path):
    own = Figure(figsize=(9, 3))
    own.subplots().plot([1, 2])
    path = skviz.save_figure(own, tmp_path / "f.pdf", venue="icml", width="text")
    assert page_width(path.read_bytes()) == pytest.approx(6.75 * 72, abs=0.01)
    assert not (tmp_path / "f.csv").exists()
    path = skviz.save_figure(lambda: plot.expected_kernel(figure_types.made_up()),
                             tmp_path / "g.pdf", width=3)  # fmt: skip
    assert page_width(path.read_bytes()) == pytest.approx(3 * 72, abs=0.01)


def test_pdf_has_only_embedded_truetype_fonts_and_no_date(sweep, tmp_path):
    path = skviz.save_figure(plot.three_scales(sweep), tmp_path / "f.pdf")
    content = path.read_bytes()
    assert b"/Type3" not in content
    assert b"/FontFile2" in content
    streams = re.findall(rb"stream\n(.*?)\nendstream", content, re.DOTALL)
    assert any(b"Tf" in zlib.decompress(s) for s in streams if s[:1] == b"x")
    assert b"CreationDate" not in content
    if shutil.which("pdffonts"):
        done = subprocess.run(["pdffonts", path], check=True, capture_output=True, text=True)
        rows = done.stdout.splitlines()[2:]
        assert rows
        assert all(re.search(r" TrueType +Identity-H +yes ", row) for row in rows)


def test_svg_keeps_text_and_png_its_resolution(figure, tmp_path):
    root = ET.parse(skviz.save_figure(figure, tmp_path / "f.svg")).getroot()
    words = "".join(root.itertext())
    assert "attention difference" in words
    assert "stage2.1.sk" in words
    with Image.open(skviz.save_figure(figure, tmp_path / "new" / "f.png", dpi=200)) as picture:
        assert picture.width == int(3.28125 * 200)
        assert picture.info["dpi"][0] == pytest.approx(200, abs=0.1)


def test_svg_has_no_name_made_of_the_last_bits_of_a_layout(figure, tmp_path):
    """Which differ between runs of Python, on one machine and with the same numbers."""
    text = skviz.save_figure(figure, tmp_path / "f.svg").read_text()
    used = re.findall(r"url\(#([^)]*)\)", text)
    assert used
    assert set(used) == set(re.findall(r'<clipPath id="([^"]*)"', text))
    assert list(dict.fromkeys(used)) == [f"clip{place}" for place in range(len(set(used)))]


def test_bands_of_eps_are_light_and_the_figure_stays_as_it_was(figure, tmp_path):
    band = figure.axes[0].collections[0]
    before = band.get_facecolor().copy(), band.get_alpha()
    text = skviz.save_figure(figure, tmp_path / "f.eps").read_text(encoding="latin-1")
    first = np.array([0x00, 0x72, 0xB2]) / 255  # Okabe and Ito's blue
    light = " ".join(f"{v:.3f}".rstrip("0") for v in 0.2 * first + 0.8)
    assert f"{light} setrgbcolor" in text
    assert "Date" not in text[: text.index("%%EndComments")]
    np.testing.assert_array_equal(band.get_facecolor(), before[0])
    assert band.get_alpha() == before[1]


def test_pgf_needs_no_latex(figure, tmp_path, monkeypatch):
    with monkeypatch.context() as without:
        without.setattr(subprocess, "Popen", None)
        path = skviz.save_figure(figure, tmp_path / "f.pgf", width=3.0)
    text = path.read_text()
    assert r"\pgfpathrectangle{\pgfpointorigin}{\pgfqpoint{3.000000in}" in text
    for picture in re.findall(r"\\includegraphics\[[^]]*\]\{([^}]*)\}", text):
        assert (tmp_path / picture).is_file()
    if shutil.which("pdflatex") is None:
        return
    (tmp_path / "main.tex").write_text(
        r"\documentclass{article}\usepackage{pgf,graphicx}\begin{document}\input{f.pgf}"
        r"\end{document}"
    )
    words = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "main.tex"]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize("ending", FORMATS)
def test_provenance_is_inside_and_names_nobody(ending, figure, tmp_path):
    path = skviz.save_figure(figure, tmp_path / f"f{ending}")
    known = record.read(path)
    assert known["figure"] == "scale_response"
    assert known["parameters"] == {"example": 1, "ax": None}
    assert known["model"] == "made-up"
    assert (known["model_sha256"], known["images_sha256"]) == ("0" * 64, "1" * 64)
    assert known["seed"] == 7
    content = path.read_bytes()
    for secret in (str(tmp_path), f"{Path.home()}/", f"/{getpass.getuser()}/"):
        assert secret.encode() not in content

    hidden = skviz.save_figure(figure, tmp_path / f"hidden{ending}", anonymous=True)
    assert set(record.read(hidden)) == {
        "skviz", "figure", "parameters", "seed", "protocol", "images", "images_sha256",
    }  # fmt: skip
    assert b"made-up" not in hidden.read_bytes()


def test_the_revision_is_the_checkouts():
    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists():
        pytest.skip("not a checkout")
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True
    )
    assert provenance.revision().removesuffix("+changes") == done.stdout.strip()


def test_provenance_holds_no_paths_and_only_plain_values(tmp_path):
    known = provenance.plain({"a": tmp_path / "x", "b": str(tmp_path), "c": np.float32(0.5),
                              "d": (1, None, print)})  # fmt: skip
    assert known == {"a": "x", "b": tmp_path.name, "c": 0.5,
                     "d": [1, None, "builtin_function_or_method"]}  # fmt: skip


def test_a_file_without_provenance_says_so(tmp_path):
    own = Figure()
    own.savefig(tmp_path / "own.pdf")
    (tmp_path / "no.svg").write_text("<svg")
    for name in ("own.pdf", "no.svg", "missing.png"):
        with pytest.raises(DataError, match=name):
            record.read(tmp_path / name)


def test_the_numbers_lie_beside_it(sweep, tmp_path):
    figure = plot.scale_response(sweep)
    skviz.save_figure(figure, tmp_path / "f.pdf", dataset=True)
    table = pd.read_csv(tmp_path / "f.csv").set_index(["scale", "unit"])
    assert len(table) == 4 * 6
    line = figure.axes[0].lines[2]
    drawn = table["estimate"].xs(line.get_label(), level="unit")
    np.testing.assert_allclose(drawn.values, line.get_ydata(), rtol=1e-5)
    kept = store.load(tmp_path / "f.zarr")
    np.testing.assert_array_equal(kept["weight"], sweep["weight"])
    skviz.save_figure(plot.three_scales(sweep), tmp_path / "g.pdf")
    assert {path.name for path in tmp_path.glob("g*.csv")} == {
        "g.channels.csv",
        "g.attention_difference.csv",
    }
    assert kept.attrs["model"] == "made-up"
    skviz.save_figure(figure, tmp_path / "f.pdf", dataset=True, anonymous=True)  # over itself
    assert "model" not in store.load(tmp_path / "f.zarr").attrs
    assert sweep.attrs["model"] == "made-up"
    with pytest.raises(SkvizError, match="no Dataset to keep"):
        skviz.save_figure(Figure(), tmp_path / "h.pdf", dataset=True)
    assert not list(tmp_path.glob("h*"))


def test_captions_can_be_pasted(figure, tmp_path):
    assert "n = 12 scenes, protocol rescale, network made-up" in skviz.caption(figure)
    text = latex(figure, tmp_path / "a_b.pdf")
    assert r"\includegraphics{a_b.pdf}" in text
    assert r"95 \% interval (bootstrap-t)" in text
    assert text.startswith(r"\begin{figure}[t]")
    wide = plot.panel([figure, figure])
    assert latex(wide, "w.pdf").startswith(r"\begin{figure*}[t]")
    assert "(b) Attention" in skviz.caption(wide)


def test_names_are_drawn_as_they_are(sweep, tmp_path):
    names = [r"a_b$c$ & <i>%#{}\~^", "$x", "שלום עולם", "مرحبا", "<script>", "plain"]
    figure = plot.scale_response(sweep.assign_coords(unit=names))
    root = ET.parse(skviz.save_figure(figure, tmp_path / "f.svg")).getroot()
    shown = {element.text for element in root.iter() if element.tag.endswith("}text")}
    assert set(names) <= shown
    for ending in FORMATS:
        skviz.save_figure(figure, tmp_path / f"f{ending}")


def test_right_to_left_text_is_in_its_order():
    def ink(text: str) -> np.ndarray:
        with style.context():
            own = style.figure("column", 1)
            own.dpi = 100
            own.text(0.3, 0.5, text, fontsize=40)
            own.canvas.draw()
            drawn = 255 - np.asarray(own.canvas.buffer_rgba())[..., 0].astype(int)
        used = np.flatnonzero(drawn.sum(0))
        return drawn[:, used[0] : used[-1] + 1]

    first, both = ink("א"), ink("אב")
    width = first.shape[1] - 2
    right, left = (np.abs(part - first[:, 1:-1]).mean() for part in
                   (both[:, -width - 1 : -1], both[:, 1 : width + 1]))  # fmt: skip
    assert right < left / 4


def test_characters_that_no_font_has_are_named(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr(style, "fonts", lambda: ["DejaVu Sans"])
    names = ["猫", *sweep["unit"].values[1:].tolist()]
    made = plot.branch_heatmap(sweep.assign_coords(unit=names))
    for ending in FORMATS:
        with pytest.raises(SkvizError, match="CJK UNIFIED IDEOGRAPH-732B"):
            skviz.save_figure(made, tmp_path / f"f{ending}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif("Droid Sans Fallback" not in style.fonts(), reason="no such font here")
def test_a_font_that_has_them_is_used(sweep, tmp_path):
    names = ["猫の単位", *sweep["unit"].values[1:].tolist()]
    figure = plot.scale_response(sweep.assign_coords(unit=names))
    content = skviz.save_figure(figure, tmp_path / "f.pdf").read_bytes()
    assert b"DroidSansFallback" in content
    assert b"/Type3" not in content


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"venue": "nurips"}, r"no venue 'nurips'.*neurips"),
        ({"width": "half"}, "'half'"),
        ({"width": -1}, "-1"),
        ({"width": True}, "True"),
    ],
)
def test_unknown_pages_are_refused(options, message, figure, tmp_path):
    with pytest.raises(SkvizError, match=message):
        skviz.save_figure(figure, tmp_path / "f.pdf", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dpi", [0, 5000, 999999999999])
def test_dots_that_no_printer_has_are_refused(figure, tmp_path, dpi):
    with pytest.raises(SkvizError, match="between 1 and 4800"):
        skviz.save_figure(figure, tmp_path / "f.png", dpi=dpi)
    assert list(tmp_path.iterdir()) == []


def test_other_endings_are_refused(figure, tmp_path):
    with pytest.raises(SkvizError, match=r"f\.gif.*\.pdf"):
        skviz.save_figure(figure, tmp_path / "f.gif")
    assert list(tmp_path.iterdir()) == []


def test_paths_that_cannot_be_written_are_named(figure, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.pdf").mkdir()
    for path in (tmp_path / "file" / "f.pdf", tmp_path / "folder.pdf"):
        with pytest.raises(SkvizError, match=f"cannot write {path}"):
            skviz.save_figure(figure, path)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder.pdf"}


def test_nothing_half_written_stays(figure, tmp_path, monkeypatch):
    old = skviz.save_figure(figure, tmp_path / "f.pdf")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(_self, path, **_):
        Path(path).write_bytes(b"%PDF-1.4 half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(SkvizError, match="No space left"):
        skviz.save_figure(figure, old)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_json_of_provenance_survives_every_character(sweep, tmp_path):
    odd = sweep
    odd.attrs["model"] = 'a (b) \\ "c" <d> & é 猫 ' + "long " * 100
    for ending in FORMATS:
        path = skviz.save_figure(plot.branch_heatmap(odd), tmp_path / f"f{ending}")
        assert record.read(path)["model"] == odd.attrs["model"]
    assert max(map(len, (tmp_path / "f.eps").read_text("latin-1").split("\n")[:8])) <= 255
    json.dumps(record.read(path))


def test_no_text_beside_a_figure_is_a_formula(tmp_path):
    said = ["=1+1", "+a", "-b", "@c", "fine", "a=b"]
    shown = Figure()
    shown.tables = {"": xr.Dataset({"mean": ("image", np.arange(-1.0, 5.0))}, {"image": said})}
    skviz.save_figure(shown, tmp_path / "a.png")
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows[1:]] == ["'=1+1", "'+a", "'-b", "'@c", "fine", "a=b"]
    assert [float(row[1]) for row in rows[1:]] == [-1, 0, 1, 2, 3, 4]


def test_a_label_holds_nothing_that_latex_reads(tmp_path):
    shown = latex(Figure(), tmp_path / "a}b%c#d\\e f.pdf")
    assert r"\label{fig:a-b-c-d-e-f}" in shown


SET = """
[study.unit]
run = "unit"
model = "objects-3"
unit = "stage2.1.sk"

[[figure]]
plot = "impulse_response"
study = "unit"
name = "{}"
"""


@pytest.mark.parametrize("name", ["../a", "/tmp/a", "..", "", "a/b", "a\\u0000", "a%", "x" * 300])
def test_a_figure_of_a_set_stays_in_its_folder(name, tmp_path):
    (tmp_path / "set.toml").write_text(SET.format(name))
    with pytest.raises(SkvizError, match=r"set\.toml"):
        list(FigureSet(tmp_path / "set.toml").write(tmp_path / "out"))
    assert [each.name for each in tmp_path.iterdir()] == ["set.toml"]


def test_a_set_writes_over_its_own_figures_only(tmp_path):
    (tmp_path / "set.toml").write_text(SET.format("a") + "\n")
    made = FigureSet(tmp_path / "set.toml")
    list(made.write(tmp_path))
    first = (tmp_path / "a.pdf").stat().st_ino
    list(made.write(tmp_path))
    assert (tmp_path / "a.pdf").stat().st_ino != first  # another file in its place
    (tmp_path / "a.pdf").write_text("mine")
    with pytest.raises(SkvizError, match="no figure of skviz"):
        list(made.write(tmp_path))
    assert (tmp_path / "a.pdf").read_text() == "mine"


def test_panels_of_each_other_are_refused(tmp_path):
    panel = '[[figure]]\nplot = "panel"\nname = "{}"\nof = ["{}"]\n'
    (tmp_path / "set.toml").write_text(panel.format("a", "b") + panel.format("b", "a"))
    with pytest.raises(SkvizError, match="'a' is a panel of itself: a of b"):
        FigureSet(tmp_path / "set.toml").figure("a")
