import hashlib
import json
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import skviz
from skviz import assets
from skviz.errors import DataError
from skviz.scenes import cutouts
from skviz.scenes.backgrounds import real_backgrounds

FAMILIES = {"noto", "noto-v1", "twemoji", "emojione", "fxemoji", "fluent"}
CUT_OUTS = cutouts.objects()


def shipped() -> list[str]:
    folder = assets.data_folder()
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(folder)) for path in files)


def expanded(pattern: str) -> Iterator[str]:
    """Write `a/{b,c}.jpg` out; a `<name>` stands for anything in one folder."""
    parts = re.split(r"\{([^}]*)\}", pattern)
    parts = [p.split(",") if i % 2 else [p] for i, p in enumerate(parts)]
    for chosen in product(*parts):
        yield re.sub(r"<\w+>", "*", "".join(part.strip() for part in chosen))


def attributed() -> dict[str, str]:
    """Every path that ATTRIBUTION names, with what it says about it."""
    text = (assets.data_folder() / "ATTRIBUTION").read_text()
    entries = {}
    # An entry is a path at the start of a line, then indented lines.
    for path, body in re.findall(r"^(\w+/[^\n]*(?:\n +[^\n:]*)?)\n((?: {4}.*\n)+)", text, re.M):
        entries.update(dict.fromkeys(expanded(re.sub(r"\n\s*", "", path)), body))
    return entries


def test_the_objects_are_complete() -> None:
    assert len(CUT_OUTS.categories) >= 50
    assert set(CUT_OUTS.family) == FAMILIES
    pairs = set(zip(CUT_OUTS.category, CUT_OUTS.family, strict=True))
    assert len(pairs) == len(CUT_OUTS) == len(CUT_OUTS.categories) * len(FAMILIES)
    assert CUT_OUTS.rgba.shape == (len(CUT_OUTS), 4, 128, 128)
    assert CUT_OUTS.rgba.dtype == torch.uint8


def test_every_object_fills_its_square_and_lies_in_its_middle() -> None:
    longer = []
    for name in assets.names_in("objects"):
        alpha = Image.open(assets.data_folder() / name).convert("RGBA").getchannel("A")
        left, top, right, bottom = alpha.getbbox() or (0, 0, 0, 0)
        longer.append(max(right - left, bottom - top))
        assert abs((left + right) / 2 - 64) <= 0.5, name
        assert abs((top + bottom) / 2 - 64) <= 0.5, name
    # Two drawings end in pixels so faint that they are lost in 8 bits.
    assert min(longer) >= 125
    assert sum(side < 127 for side in longer) <= 2


def test_no_object_is_a_filled_square_or_almost_nothing() -> None:
    opaque = CUT_OUTS.rgba[:, 3] > 250  # (N, 128, 128)
    share = opaque.float().mean((1, 2))
    assert float(share.max()) < 0.9
    assert float(share.min()) > 0.02
    assert not bool(opaque[:, ::127, ::127].flatten(1).sum(1).ge(3).any())  # of the four corners


def test_no_two_objects_are_the_same_picture() -> None:
    assert len({picture.numpy().tobytes() for picture in CUT_OUTS.rgba}) == len(CUT_OUTS)


def test_design_families_are_split_for_training() -> None:
    assert not set(cutouts.TRAIN_FAMILIES) & set(cutouts.HELD_OUT_FAMILIES)
    assert set(cutouts.TRAIN_FAMILIES) | set(cutouts.HELD_OUT_FAMILIES) == FAMILIES
    seen, held_out = (
        {p.numpy().tobytes() for p in cutouts.objects(family=part).rgba}
        for part in (cutouts.TRAIN_FAMILIES, cutouts.HELD_OUT_FAMILIES)
    )
    assert not seen & held_out


def test_backgrounds_are_split_for_training() -> None:
    seen, held_out = (real_backgrounds(held_out=part) for part in (False, True))
    assert seen
    assert held_out
    assert not set(seen) & set(held_out)
    assert set(seen) | set(held_out) == set(real_backgrounds())


def test_real_backgrounds_are_pictures() -> None:
    for name, picture in real_backgrounds().items():
        assert picture.dtype == torch.uint8
        assert picture.shape[0] == 3, name
        assert min(picture.shape[1:]) >= 256, name
        assert float(picture.float().std()) > 10, name  # not a blank


def test_photographs_have_masks_of_their_size() -> None:
    shipped = skviz.photographs()
    found = {
        name: tuple((part * 255).round().byte() for part in pair)
        for name, *pair in zip(shipped.ids, shipped.pictures, shipped.masks, strict=True)
    }
    assert set(found) == {"astronaut", "chelsea", "coffee", "rocket"}
    for name, (picture, mask) in found.items():
        assert picture.dtype == mask.dtype == torch.uint8
        assert picture.shape[0] == 3
        assert mask.shape == (1, *picture.shape[1:]), name
        assert 0.01 < float((mask > 127).float().mean()) < 0.8, name
        assert float(((mask > 5) & (mask < 250)).float().mean()) < 0.05, name  # a cut-out, no haze


def test_pictures_are_decoded_as_pillow_shows_them() -> None:
    name = "photos/coffee.jpg"
    expected = np.asarray(Image.open(assets.data_folder() / name).convert("RGB"))
    assert np.array_equal(assets.read_image(name, "RGB").permute(1, 2, 0).numpy(), expected)
    grey = assets.read_image("photos/coffee.mask.png", "L")
    assert grey.shape == (1, *expected.shape[:2])


def test_the_manifest_lists_what_ships_and_its_hashes_are_right() -> None:
    files = [name for name in shipped() if name != "manifest.json"]
    assert sorted(assets.manifest()) == files
    for name in files:
        content = (assets.data_folder() / name).read_bytes()
        assert assets.manifest()[name] == hashlib.sha256(content).hexdigest(), name


def test_the_data_is_small() -> None:
    sizes = {name: (assets.data_folder() / name).stat().st_size for name in shipped()}
    in_the_repository_alone = {name: size for name, size in sizes.items() if "caltech" in name}
    assert sum(sizes.values()) - sum(in_the_repository_alone.values()) < 18e6
    photographs = [name for name in in_the_repository_alone if name.endswith("jpg")]
    assert sum(map(sizes.__getitem__, photographs)) < 6e6
    assert sum(in_the_repository_alone.values()) < 11e6


def test_every_file_is_attributed_and_every_attribution_has_a_file() -> None:
    entries = attributed()
    files = [Path(n) for n in shipped() if n not in ("ATTRIBUTION", "manifest.json")]
    orphans = [str(f) for f in files if not any(f.match(pattern) for pattern in entries)]
    assert not orphans
    unused = [pattern for pattern in entries if not any(file.match(pattern) for file in files)]
    assert not unused
    for pattern, body in entries.items():
        assert "Source:" in body, pattern
        assert "Licence:" in body, pattern
        assert "Changed:" in body or "made for skviz" in body, pattern


@pytest.fixture
def a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of one file, in the place of the shipped one."""
    (tmp_path / "one.txt").write_bytes(b"as shipped")
    hashes = {"one.txt": hashlib.sha256(b"as shipped").hexdigest()}
    (tmp_path / "manifest.json").write_text(json.dumps(hashes))
    monkeypatch.setattr(assets, "data_folder", lambda: tmp_path)
    monkeypatch.setattr(assets, "manifest", assets.manifest.__wrapped__)  # without its cache
    return tmp_path


def test_an_intact_file_is_read(a_folder: Path) -> None:
    assert a_folder.is_dir()
    assert assets.read_bytes("one.txt") == b"as shipped"


def test_an_altered_file_is_refused(a_folder: Path) -> None:
    (a_folder / "one.txt").write_bytes(b"as shippee")
    with pytest.raises(DataError, match=r"one\.txt is not the file that was shipped"):
        assets.read_bytes("one.txt")


def test_a_missing_file_is_refused(a_folder: Path) -> None:
    (a_folder / "one.txt").unlink()
    with pytest.raises(DataError, match=r"one\.txt is missing; some files"):
        assets.read_bytes("one.txt")


def test_a_file_that_the_manifest_does_not_know_is_refused(a_folder: Path) -> None:
    (a_folder / "two.txt").write_bytes(b"slipped in")
    with pytest.raises(DataError, match=r"'two\.txt' is not among the shipped files"):
        assets.read_bytes("two.txt")


def test_a_missing_data_folder_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "__file__", str(tmp_path / "skviz" / "assets.py"))
    with pytest.raises(DataError, match="install the wheel, or run from a complete checkout"):
        assets.data_folder.__wrapped__()


def test_objects_are_selected_by_name() -> None:
    some = cutouts.objects(category=["horse", "airplane"], family="noto")
    assert some.ids == ("noto/airplane", "noto/horse")
    whole = cutouts.objects()
    for index, name in enumerate(some.ids):
        assert torch.equal(some.rgba[index], whole.rgba[whole.ids.index(name)])
    assert cutouts.objects(category="horse").categories == ("horse",)
    assert len(cutouts.objects(category="horse")) == len(FAMILIES)


@pytest.mark.parametrize("names", ["unicorn", ["horse", "unicorn"]])
def test_an_unknown_category_is_refused_with_those_that_exist(names: str | list[str]) -> None:
    with pytest.raises(DataError, match="unicorn") as error:
        cutouts.objects(category=names)
    assert all(category in str(error.value) for category in CUT_OUTS.categories)


def test_an_unknown_family_is_refused_with_those_that_exist() -> None:
    with pytest.raises(DataError, match="openmoji") as error:
        cutouts.objects(family=["noto", "openmoji"])
    assert all(family in str(error.value) for family in FAMILIES)


def test_a_selection_that_is_empty_is_refused() -> None:
    pair = cutouts.objects()[[cutouts.objects().ids.index(n) for n in ("noto/horse", "fluent/bus")]]
    with pytest.raises(DataError, match=r"category \['bus'\] and family \['noto'\]"):
        pair.where(category="bus", family="noto")
    with pytest.raises(DataError, match="category none"):
        cutouts.objects(category=[])


def test_objects_are_taken_in_the_order_asked_and_iterated_one_by_one() -> None:
    some = cutouts.objects(family="noto")[[3, 1]]
    assert [one.ids for one in some] == [(some.ids[0],), (some.ids[1],)]
    assert some.categories == tuple(sorted(some.category))
    assert some.category != some.categories
    assert torch.equal(torch.cat([one.rgba for one in some]), some.rgba)


@pytest.mark.parametrize(
    "rgba",
    [
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(4, 8, 8, dtype=torch.uint8),
        torch.zeros(1, 4, 8, 8),
    ],
)
def test_objects_of_another_form_are_refused(rgba: torch.Tensor) -> None:
    with pytest.raises(DataError, match=re.escape(f"got {rgba.dtype} {tuple(rgba.shape)}")):
        cutouts.Objects(rgba, ("a",), ("b",))


def test_objects_need_a_name_each() -> None:
    rgba = torch.zeros(2, 4, 8, 8, dtype=torch.uint8)
    with pytest.raises(DataError, match="2 cut-outs need as many categories and families"):
        cutouts.Objects(rgba, ("a",), ("b", "c"))
