"""Files of figures: keys, types, cycles, names that leave the folder."""

import random
import re
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from skviz.figures.sets import FigureSet
from tests.fuzz.judge import Case

PLAIN = """\
out = "figures"
formats = ["png"]
venue = "cvpr"

[study.one]
model = "objects-3"
family = ["fxemoji"]
first = 2
scales = [0.5, 1.0]

[study.two]
run = "unit"
model = "objects-3"
unit = "stage2.1.sk"

[[figure]]
plot = "impulse_response"
study = "two"
name = "first"
width = "column"

[[figure]]
plot = "impulse_response"
study = "two"

[[figure]]
plot = "panel"
name = "both"
of = ["first", "impulse_response"]
"""
VALUES = (
    "0", "-1", "1e400", "nan", '""', '"x"', "[]", "{}", "true", '["a", 3]', "[[]]", "1979-05-27",
    '"../../evil"', '"/tmp/evil"', '"a/b"', '"\\u0000"', '"\\u001b[2J"', '"both"', '["both"]',
    '"s3://a"', '{ a = 1 }', "999999999999", '["exe"]', '["png", "../x"]', '"objects"', '"."',
    f'"{"n" * 300}"', '"nul\\n"', '["first", "first"]', '[["first"]]', '"CVPR"',
)  # fmt: skip
KEYS = ("colour", "run", "example", "of", "dpi", "dataset", "name", "units", "target", "store")


def changed(rng: random.Random) -> str:
    """Return the file with something else in it."""
    lines = PLAIN.splitlines()
    places = [at for at, line in enumerate(lines) if " = " in line]
    at, way = rng.choice(places), rng.randrange(8)
    key = lines[at].split(" = ")[0]
    if way < 4:
        lines[at] = f"{key} = {rng.choice(VALUES)}"
    elif way == 4:
        lines[at] += f"\n{rng.choice(KEYS)} = {rng.choice(VALUES)}"
    elif way == 5:
        del lines[at]
    elif way == 6:
        text = PLAIN.encode()
        where = rng.randrange(len(text))
        return (text[:where] + bytes([rng.randrange(256)]) + text[where + 1 :]).decode("latin-1")
    else:
        lines[at] = rng.choice(
            ["[study]", "[[study.one]]", "figure = 3", "[study.one.x]", "[[", "="]
        )
    return "\n".join(lines)


def written(path: Path) -> list[Path]:
    """Draw what the file says that needs no study."""
    made = FigureSet(path)
    return [where for _, where in made.write(path.parent / "out")]


def inside(path: Path, answer: Any) -> bool:
    """Whether what was written lies in the folder, by the names that the file says, all of it."""
    said = tomllib.loads(path.read_text(encoding="utf-8"))
    names = [each.get("name", each["plot"]) for each in said["figure"]]
    there = {file.relative_to(path.parent) for file in path.parent.parent.rglob("*")
             if file.is_file() and file != path}  # fmt: skip
    wanted = {f"{name}.{each}" for name in names for each in said.get("formats", ["pdf"])}
    held = {str(file.relative_to("out")) for file in there if file.suffix != ".csv"}
    return held == wanted and [each.stem for each in answer] == names


def cases(seed: int, count: int, folder: Path) -> Iterator[Case]:
    """List cases."""
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        path = folder / str(number) / "in" / "set.toml"
        path.parent.mkdir(parents=True)
        text = PLAIN if number % 20 == 0 else changed(rng)
        path.write_text(text, encoding="utf-8")
        diff = [line for line in text.splitlines() if line not in PLAIN.splitlines()]
        yield Case(
            f"{re.sub(chr(10), ' | ', chr(10).join(diff))!r:.90}", partial(written, path),
            partial(inside, path), refusable=number % 20 != 0,
        )  # fmt: skip
