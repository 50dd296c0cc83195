"""``reproduce``: what a figure's file says makes the figure again; and what does not is told."""

import json
from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest
import torch

import skviz
from skviz.cli import main
from skviz.errors import DataError
from skviz.figures import record
from skviz.figures.provenance import unpacked

GRID = {"scales": [0.5, 1.0], "progress": False, "device": "cpu"}


@pytest.fixture(scope="module")
def model():
    return skviz.load("objects")


@pytest.fixture(scope="module")
def scenes():
    few = skviz.objects(category=["bus", "bell", "fish"], family="noto-v1")
    return skviz.place(few, canvas=48, seed=3).moved(y=0.05, x=0.0)[1:]


@pytest.fixture(scope="module")
def figure(model, scenes):
    return skviz.plot.scale_response(skviz.sweep(model, scenes, **GRID))


@pytest.mark.parametrize("ending", ["pdf", "svg", "png", "eps", "pgf"])
def test_every_format_holds_the_numbers(figure, tmp_path, ending):
    path = skviz.save_figure(figure, tmp_path / f"x.{ending}")
    (held,) = unpacked(record.read(path)["numbers"]).values()
    assert held == (tmp_path / "x.csv").read_text()
    assert len(held.splitlines()) == 1 + 6 * 2  # units, scales


def test_the_same_numbers_from_the_file_alone(figure, tmp_path, capsys):
    path = skviz.save_figure(figure, tmp_path / "x.pdf")
    (tmp_path / "x.csv").unlink()
    assert main(["reproduce", str(path), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("same numbers: ")
    assert int(said.split()[2]) >= 6 * 2 * 3  # and a mean with its interval


def test_the_parts_of_a_panel_and_studies_of_controls(small_net, few, tmp_path):
    scenes = skviz.place(few[:2], canvas=32)
    study = skviz.controls(small_net, scenes, names=["copies"], seeds=1, **GRID)
    ds = skviz.sweep(small_net, scenes, **GRID)
    panel = skviz.plot.panel([skviz.plot.scale_response(ds), skviz.plot.control_shifts(study)])
    path = skviz.save_figure(panel, tmp_path / "p.pdf")
    found = skviz.reproduce(path, model=small_net)
    assert found["same"]
    assert found["then"] == found["now"]
    assert sorted(found["figure"].tables) == sorted(panel.tables)
    # Another number of untrained networks is another study.
    more = study.assign_attrs(seeds=2)
    path = skviz.save_figure(skviz.plot.control_shifts(more), tmp_path / "more.pdf")
    assert not skviz.reproduce(path, model=small_net)["same"]


@pytest.mark.long
def test_effects_and_attributions_are_made_again(model, scenes, tmp_path, capsys):
    asked = {
        "3×3": 3,
        "5×5": skviz.force(kernel=5),
        "without": skviz.ablate(branch=1),
        "as large": skviz.swap(scale=1.0, part="mean"),
        "equal": "uniform",
        "each": {"stage1.0.sk": "uniform", "stage2.1.sk": skviz.force(kernel=5)},
    }
    ds = skviz.effect(model, scenes, asked, units=["stage1.0.sk", "stage2.1.sk"], **GRID)
    path = skviz.save_figure(skviz.plot.intervention_effect(ds), tmp_path / "e.pdf")
    assert skviz.reproduce(path)["same"]
    other = dict(record.read(path)["interventions"], equal={"function": "skviz.force", "kernel": 5})
    again = skviz.plot.intervention_effect(ds.assign_attrs(interventions=list(other.items())))
    assert not skviz.reproduce(skviz.save_figure(again, tmp_path / "o.pdf"))["same"]
    own = skviz.effect(model, scenes, {"own": lambda weights: weights}, **GRID)
    path = skviz.save_figure(skviz.plot.intervention_effect(own), tmp_path / "f.pdf")
    with pytest.raises(DataError, match=r"function .*lambda.*kept nowhere"):
        skviz.reproduce(path)

    target = skviz.target
    targets = ["predicted", target.branch("stage2.1.sk", kernel=5, channels=[0, 3]), "category"]
    targets += [3, target.difference("stage1.0.sk"), target.classes([1] * len(scenes))]
    maps = skviz.attribute(model, scenes, target=targets, method="smoothgrad", seed=4, **GRID)
    path = skviz.save_figure(skviz.plot.attribution_grid(maps), tmp_path / "a.pdf")
    assert main(["reproduce", str(path), "--json", "--device", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["same"]
    assert found["count"] > 0
    moved = skviz.plot.attribution_grid(maps.assign_attrs(seed=5))
    assert not skviz.reproduce(skviz.save_figure(moved, tmp_path / "m.pdf"))["same"]


def test_tests_of_maps_are_made_again(model, scenes, tmp_path):
    tested = skviz.faithfulness(
        model, scenes[:2], method="saliency", points=3, groups=2, seed=4, scales=[1.0],
        device="cpu", progress=False,
    )  # fmt: skip
    path = skviz.save_figure(skviz.plot.faithfulness(tested), tmp_path / "f.pdf")
    found = skviz.reproduce(path)
    assert found["same"]
    assert found["count"] > 0
    path = skviz.save_figure(
        skviz.plot.faithfulness(tested.assign_attrs(seed=5)), tmp_path / "o.pdf"
    )
    assert not skviz.reproduce(path)["same"]


def test_experiments_are_made_again_with_what_is_said_of_them(model, small_net, tmp_path):
    scenes = skviz.place(skviz.objects(category=["bus", "bell"]), canvas=32)
    levels = {"copies": [1], "blurs": [1.0, 2.0], "backgrounds": [1.0], "scattered": [False]}
    cells = {"sizes": [0.5, 1.0], **levels, "units": ["stage1.0.sk", "stage2.0.sk"]}
    ds = skviz.factorial({"ours": model, "small": small_net}, scenes, **cells, device="cpu")
    shown = skviz.stats.main_effects(ds, cluster=None)
    path = skviz.save_figure(skviz.plot.main_effects(shown), tmp_path / "m.pdf")
    found = skviz.reproduce(path, model={"small": small_net})
    assert found["same"]
    assert found["count"] > 0
    with pytest.raises(DataError, match="is none that ships; give model="):
        skviz.reproduce(path)
    with pytest.raises(DataError, match="another network than the figure's"):
        skviz.reproduce(path, model=small_net)
    grouped = shown.assign_attrs(statistic={"function": "main_effects", "cluster": "category"})
    path = skviz.save_figure(skviz.plot.main_effects(grouped), tmp_path / "g.pdf")
    assert not skviz.reproduce(path, model={"small": small_net})["same"]
    for change in ({"sizes": [0.5, 0.75]}, {"branches": [0, 1]}):
        path = skviz.save_figure(skviz.plot.main_effects(shown.assign_attrs(change)), path)
        assert not skviz.reproduce(path, model={"small": small_net})["same"]


def test_what_pictures_explain_is_made_again(model, tmp_path):
    more = skviz.place(skviz.objects(family="noto")[::4], canvas=32)
    ds = skviz.readings(model, more, units="stage2.1.sk", device="cpu", progress=False)
    plotted = skviz.plot.explained(skviz.stats.explained(ds, seed=3))
    path = skviz.save_figure(plotted, tmp_path / "x.pdf")
    assert skviz.reproduce(path)["same"]
    other = skviz.stats.explained(ds, seed=4)
    other.attrs["statistic"]["seed"] = 3
    path = skviz.save_figure(skviz.plot.explained(other), tmp_path / "y.pdf")
    assert not skviz.reproduce(path)["same"]
    own = skviz.stats.explained(ds, skviz.stats.expected_kernel(ds))
    path = skviz.save_figure(skviz.plot.explained(own), tmp_path / "z.pdf")
    with pytest.raises(DataError, match="told a given values of one's own, which is kept nowhere"):
        skviz.reproduce(path)


def test_a_drawn_unit_is_made_again(model, small_net, scenes, tmp_path):
    with skviz.plot.style.context(labels={"stage2.1.sk": "the last"}, name="ours"):
        drawn = skviz.plot.unit_diagram(model, scenes, unit="stage2.1.sk", scale=0.5)
    found = skviz.reproduce(skviz.save_figure(drawn, tmp_path / "x.pdf"))
    assert found["same"]
    assert "SK unit the last:" in found["figure"].caption
    images = torch.rand(2, 3, 32, 32, generator=torch.manual_seed(0))
    path = skviz.save_figure(skviz.plot.unit_diagram(small_net, images), tmp_path / "y.pdf")
    with pytest.raises(DataError, match="'images', which is kept nowhere"):
        skviz.reproduce(path, model=small_net)
    assert skviz.reproduce(path, model=small_net, images=images)["same"]
    with pytest.raises(DataError, match="images are others than those of the figure"):
        skviz.reproduce(path, model=small_net, images=1 - images)


def test_units_without_a_name_and_called_twice_are_found_by_what_results_call_them(tmp_path):
    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.sk = skviz.models.nn.SKConv(16, groups=2)

        def forward(self, x):
            return self.sk(self.sk(x))

    torch.manual_seed(0)
    images = torch.rand(6, 16, 9, 9)
    for model, names in ((Twice().sk, ["model"]), (Twice(), ["sk@0", "sk@1"])):
        ds = skviz.sweep(model, images, device="cpu", progress=False)
        assert ds["unit"].values.tolist() == names
        again = skviz.sweep(model, images, units=names, device="cpu", progress=False)
        np.testing.assert_array_equal(again["weight"], ds["weight"])
        path = skviz.save_figure(skviz.plot.expected_kernel(ds), tmp_path / "x.pdf")
        assert skviz.reproduce(path, model=model, images=images)["same"]


def test_numbers_that_come_from_something_else_are_told(model, scenes, tmp_path, capsys):
    hook = model.stage2.register_forward_hook(lambda *given: given[2] * 0.5)
    ds = skviz.sweep(model, scenes, **GRID)
    hook.remove()  # which no attribute says
    path = skviz.save_figure(skviz.plot.scale_response(ds), tmp_path / "x.pdf")
    assert main(["reproduce", str(path), "--device", "cpu"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("OTHER numbers: ")
    assert "column" in said
    part = skviz.sweep(model, scenes, **GRID).isel(unit=slice(2))
    path = skviz.save_figure(skviz.plot.scale_response(part), tmp_path / "y.pdf")
    found = skviz.reproduce(path)
    assert (found["same"], found["difference"]) == (False, np.inf)
    assert "rows, made again" in found["where"]


def test_weights_that_were_changed_around_a_study_are_told(model, scenes, tmp_path):
    changed = dict.fromkeys(("stage1.0.sk", "stage3.1.sk"), "uniform")
    with skviz.intervene(model, changed):
        ds = skviz.sweep(model, scenes, scales=[0.5, 1.0], device="cpu", progress=False)
    figure = skviz.plot.scale_response(ds)
    assert "weights of stage1.0.sk, stage3.1.sk changed" in skviz.caption(figure)
    with pytest.raises(DataError, match="were changed around it"):
        skviz.reproduce(skviz.save_figure(figure, tmp_path / "f.pdf"))


def test_ones_own_network_and_pictures_are_asked_for_and_compared(small_net, tmp_path):
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 50), np.uint8)
    mask[10:25, 15:35] = 255

    def pictures(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        picture = np.random.default_rng(seed).integers(0, 255, (40, 50, 3), np.uint8)
        return {"a": (picture, mask), "b": (255 - picture, mask)}

    own = skviz.photographs(pictures(0)).cut_out(canvas=32)
    ds = skviz.sweep(small_net, own, **GRID)
    path = skviz.save_figure(skviz.plot.scale_response(ds), tmp_path / "x.pdf")
    with pytest.raises(DataError, match="is none that ships; give model="):
        skviz.reproduce(path)
    with pytest.raises(DataError, match="another network than the figure's"):
        skviz.reproduce(path, model=skviz.untrained(small_net, [own.render(1.0)], seed=1))
    with pytest.raises(DataError, match=r"pictures are one's own .*; give images="):
        skviz.reproduce(path, model=small_net)
    with pytest.raises(DataError, match="images are others than those of the figure"):
        skviz.reproduce(path, model=small_net, images=pictures(1))
    found = skviz.reproduce(path, model=small_net, images=pictures(0))
    assert found["same"]
    assert found["difference"] < 1e-5
    backgrounds = rng.random((1, 3, 32, 32)).astype(np.float32)
    kept = skviz.place(skviz.objects()[:2], canvas=32, backgrounds=torch.from_numpy(backgrounds))
    ds = skviz.sweep(small_net, kept, **GRID)
    path = skviz.save_figure(skviz.plot.scale_response(ds), tmp_path / "y.pdf")
    with pytest.raises(DataError, match="made with backgrounds of one's own"):
        skviz.reproduce(path, model=small_net)


def test_what_does_not_say_enough_is_refused(figure, tmp_path):
    hidden = skviz.save_figure(figure, tmp_path / "a.pdf", anonymous=True)
    with pytest.raises(DataError, match="does not say enough"):
        skviz.reproduce(hidden)
    foreign = skviz.save_figure(matplotlib.figure.Figure(), tmp_path / "f.pdf")
    with pytest.raises(DataError, match="does not say enough"):
        skviz.reproduce(foreign)


def test_a_file_runs_nothing_but_what_makes_scenes(figure, tmp_path):
    path = skviz.save_figure(figure, tmp_path / "x.pgf")
    known = record.read(path)

    def written(**more: object) -> Path:
        other = tmp_path / "y.pgf"
        other.write_text(record.comment(json.dumps(known | more)))
        return other

    assert skviz.reproduce(written())["same"]
    for more, message in (
        ({"made": [{"function": "os.system", "command": "true"}]}, "come from 'os.system'"),
        ({"made": [{"function": "__class__"}]}, "come from '__class__'"),
        ({"figure": "figure"}, r"no skviz\.plot\.figure"),
        ({"study": "explore"}, "of 'explore', not of sweep"),
        ({"model": "../secret"}, "is none that ships"),
    ):
        with pytest.raises(DataError, match=message):
            skviz.reproduce(written(**more))
