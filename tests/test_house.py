"""The map in CONTRIBUTING is that of the code, and arrows go one way."""

from pathlib import Path

import pytest

from tests import house

CONTRIBUTING = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")

MOST_CODE = 11_950  # lines of Python in the package, without words and blank lines
# What each room may import from, besides errors. Whoever needs an arrow that is not here moves
# something to a lower room, or adds it here and says why in the commit.
ALLOWED = {
    "__main__": {"cli"},
    "assets": set(),
    "attribution": {"capture", "models", "scenes", "studies"},
    "capture": set(),
    "cli": {"capture", "figures", "models", "scenes", "stats", "studies"},
    "errors": set(),
    "explorer": {
        "assets", "attribution", "capture", "figures", "models", "plot", "scenes", "stats",
        "studies",
    },
    "face": set(),
    "figures": {"assets", "attribution", "face", "models", "plot", "scenes", "stats", "studies"},
    "models": {"assets"},
    "plot": {"capture", "models", "stats", "studies"},
    "scenes": {"assets"},
    "stats": set(),
    "studies": {"capture", "models", "scenes", "stats"},
}  # fmt: skip


def test_rooms_and_arrows():
    rooms = house.between_rooms(house.arrows())
    assert set(rooms) == set(ALLOWED)
    for name, others in rooms.items():
        assert others - {"errors"} <= ALLOWED[name], f"{name} imports from {others - ALLOWED[name]}"


def test_no_circles():
    graph = house.arrows()
    assert house.circles(house.between_rooms(graph)) == []
    assert house.circles(graph) == []


def test_circles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"a"}}
    assert house.circles(graph) == [["a", "b", "c"]]


@pytest.mark.parametrize("path", sorted(house.PACKAGE.rglob("*.py")), ids=lambda p: p.name)
def test_no_file_is_long(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350


def test_the_house_does_not_grow_unseen():
    """Whoever raises this says in the commit what was removed for it; whoever can, lowers it."""
    stubs = house.PACKAGE.rglob("*.pyi")
    assert sum(map(house.code_lines, [*house.files().values(), *stubs])) <= MOST_CODE
    scripts = house.PACKAGE.rglob("*.js")
    assert sum(len(p.read_text(encoding="utf-8").splitlines()) for p in scripts) <= 2_200


def test_lines_of_code_are_counted_without_words(tmp_path):
    path = tmp_path / "made.py"
    words = ['"""Words."""', "", "# more", 'X = """not', 'words"""', "", "def f():"]
    more = ['    """Words.', "", "    More.", '    """', "    return X  # here", ""]
    path.write_text("\n".join([*words, *more]))
    assert house.code_lines(path) == 4


def test_contributing_has_the_map_and_every_room():
    rooms = house.between_rooms(house.arrows())
    assert house.drawn(rooms) in CONTRIBUTING
    for name in set(rooms) - {"face", "__main__", "errors"}:
        assert f"`skviz/{name}" in CONTRIBUTING, name
