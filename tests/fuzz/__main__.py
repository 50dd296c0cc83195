"""Try them, and print one table; ends with 1 if anything is not as it should be."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import arrays, calls, checkpoints, judge, names, pictures, stores, tomls

ENTRANCES = {
    "pictures": (pictures, 1000),
    "checkpoints": (checkpoints, 300),
    "arrays": (arrays, 200),
    "calls": (calls, 200),
    "names": (names, 130),
    "toml": (tomls, 200),
    "stores": (stores, 100),
}


def tried(name: str, share: float, seed: int) -> dict[str, int]:
    """Try a share of the cases of an entrance."""
    module, count = ENTRANCES[name]
    with tempfile.TemporaryDirectory() as folder:
        cases = module.cases(seed, max(1, round(share * count)), Path(folder))
        return judge.count(cases, lambda said: print(f"{name}: {said}", flush=True))


def main() -> int:
    """Print the table."""
    words = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    words.add_argument("entrances", nargs="*", choices=[*ENTRANCES, []], metavar="ENTRANCE")
    words.add_argument("--share", type=float, default=1.0, help="of the cases")
    words.add_argument("--seed", type=int, default=0)
    given = words.parse_args()
    found, rows = 0, []
    for name in given.entrances or ENTRANCES:
        begun = time.perf_counter()
        counts = tried(name, given.share, given.seed)
        found += sum(counts.values()) - counts["clean"]
        numbers = [sum(counts.values()), *(counts[how] for how in judge.ENDINGS)]
        rows.append([name, *numbers, f"{time.perf_counter() - begun:.0f}"])
    for row in (["entrance", "tried", *judge.ENDINGS, "seconds"], *rows):
        print(f"{row[0]:<12}" + "".join(f"{each!s:>8}" for each in row[1:]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
