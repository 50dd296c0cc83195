"""What README says of photographs is what was kept, and that is of what ships."""

import hashlib
import json

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image

import skviz
from recipes import findings, photographs, photographs_said
from recipes.findings import photographed
from skviz import assets
from skviz.scenes import cutouts


def test_readme_and_card_are_written_from_the_numbers_that_were_kept():
    readme = findings.README.read_text()
    words = photographs_said.section()
    assert findings.placed(readme, "photographs", "photographs", words) == readme
    card = assets.data_folder() / "models" / "caltech.md"
    assert card.read_text() == photographs_said.card()
    with pytest.raises(skviz.SkvizError, match="no place"):
        findings.placed(readme, "nothing", "photographs", words)


def test_the_numbers_are_of_the_networks_that_ship():
    kept = json.loads(photographs.KEPT.read_text())["networks"]
    for name in ("caltech", "objects"):
        content = assets.read_bytes(f"models/{name}.safetensors")
        assert kept[name] == hashlib.sha256(content).hexdigest()
    assert len(set(kept.values())) == len(kept) == 12


def test_a_part_of_them_measured_again():
    """On any processor, to one scene of the 134, or a thousandth."""
    model = skviz.load("objects")
    objects = skviz.objects(family=cutouts.HELD_OUT_FAMILIES)
    scenes = skviz.place(objects, backgrounds=photographed(len(objects), 0))[::6]
    ds = skviz.factorial(
        {"objects": model}, scenes, copies=[1], blurs=[1], backgrounds=[1], scattered=[False],
        progress=False,
    )  # fmt: skip
    small, large = (ds["attention_difference"].isel(cell=i, network=0) for i in (0, 1))
    found = photographs.kept("factors", "objects, drawings, photographed backgrounds")["each"]
    growth = found.sel(network="objects")
    # A sixth of the scenes; their mean lies about the mean of all.
    error = (large - small).std("image") / np.sqrt(len(scenes))
    assert (abs((large - small).mean("image") - growth["growth"]) < 4 * error).all()
    shuffled = skviz.place(objects)[np.random.default_rng(0).permutation(len(objects)).tolist()]
    swept = skviz.sweep(model, shuffled, scales=[0.5, 1.0, 2.0], progress=False)
    own = photographs.kept("selection", "objects")["estimate"].sel(weights="own")
    np.testing.assert_allclose(swept["correct"].mean("image"), own, atol=0.016)


def test_the_shipped_photographs_are_named_as_often_as_all():
    pictures = skviz.photographs(assets.data_folder() / "caltech")
    ds = skviz.sweep(skviz.load("caltech"), pictures.zoom(), scales=[1.0], progress=False)
    known = photographs.kept("card", "zooms")["balanced accuracy"][0]
    assert float(ds["correct"].mean()) == pytest.approx(known, abs=0.08)


def test_a_table_comes_back_as_it_was():
    ds = xr.Dataset(
        {"estimate": (("a", "b"), [[1.0, np.nan]]), "verdict": ("b", ["moves", "none"])},
        {"a": ["x"], "b": ["y", "z"]},
        {"method": "by hand", "images": 3, "ids": [1, 2]},
    )
    back = photographs.as_dataset(json.loads(json.dumps(photographs.table(ds))))
    xr.testing.assert_identical(back, ds.drop_attrs().assign_attrs(method="by hand", images=3))


def test_calibration_is_that_of_the_definition():
    sure = np.linspace(0.05, 0.95, 300)
    right = (np.random.default_rng(0).random(300) < 0.5).astype(float)
    parts = np.arange(300).reshape(15, 20)
    expected = np.mean([abs(right[p].mean() - sure[p].mean()) for p in parts])
    assert photographs.calibration_error(right, sure) == pytest.approx(expected)


def test_copies_are_counted_and_others_are_not(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        small = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(small).resize((80, 60), Image.BICUBIC).save(tmp_path / f"{name}.png")
    Image.open(tmp_path / "a.png").resize((60, 50)).save(tmp_path / "copy.png")
    tested, trained = [tmp_path / "copy.png", tmp_path / "b.png"], [tmp_path / "a.png"]
    assert photographs.alike(tested, trained) == {"test": 2, "near": 1}


def test_weights_that_are_not_an_images_own(small_net, few):
    """With equal weights it is the network whose selection is forced to be equal."""
    scenes = skviz.place(few, canvas=32)

    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small_net
            self.card = skviz.load("objects").card

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.cat([self.net(images)] * 10, 1)[:, :67]

    known = Named().eval()
    found = photographs.as_dataset(photographs.replaced(known, scenes, (1.0,)))["estimate"]
    effect = skviz.effect(known, scenes, {"equal": "uniform"}, scales=[1.0], progress=False)
    expected = effect["correct"].sel(intervention="equal", unit="all").mean("image")
    np.testing.assert_allclose(found.sel(weights="equal"), expected)
