"""Run the tests as other processors would: ``python -m tests.processors [pytest's arguments]``.

PyTorch, oneDNN and OpenBLAS choose their kernels by the instructions that a processor has, and each
kernel adds in another order. All can be told to leave instructions out, so that one machine stands
for the older ones as well; and `tests.rounding` stands for those that nobody has at hand. Prints a
table of what passed and failed, and ends with 1 if anything failed.

Each row is a processor as they are built (all libraries with the same instructions); ``--every``
runs all combinations of PyTorch's and oneDNN's, ``--only avx2`` those whose name contains it.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
ATEN = ("default", "avx2", "avx512")
ONEDNN = ("SSE41", "AVX2", "AVX512_CORE")
OPENBLAS = ("Nehalem", "Haswell", "SkylakeX")  # of NumPy and SciPy, with the same instructions
THREADS = (1, 2)
# What draws in a browser, or is killed and timed, is about processes and not about numbers.
LEFT_OUT = ("browser", "chaos")


@dataclass(frozen=True)
class Processor:
    """What the libraries are told."""

    threads: int
    aten: str = ""
    onednn: str = ""

    @property
    def name(self) -> str:
        """As it is printed."""
        kind = f"{self.aten} {self.onednn}" if self.aten else "another rounding"
        return f"{kind}, {self.threads} thread{'s' * (self.threads > 1)}"

    @property
    def level(self) -> int:
        """Which instructions it needs, as a place in `ATEN`."""
        return max(ATEN.index(self.aten), ONEDNN.index(self.onednn)) if self.aten else 0

    def environment(self) -> dict[str, str]:
        """Give the environment of its tests."""
        told = {"ATEN_CPU_CAPABILITY": self.aten, "ONEDNN_MAX_CPU_ISA": self.onednn}
        told["OPENBLAS_CORETYPE"] = OPENBLAS[ATEN.index(self.aten)] if self.aten else ""
        return clean() | {k: v for k, v in told.items() if v} | {
            "OMP_NUM_THREADS": str(self.threads),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.getenv("PYTHONPATH")])),
        }  # fmt: skip

    @property
    def options(self) -> list[str]:
        """What pytest is told beside it."""
        return [] if self.aten else ["-p", "tests.rounding"]


@dataclass
class Outcome:
    """What became of a run."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: int = 0
    seconds: float = 0.0


def clean() -> dict[str, str]:
    """Give this environment without what chooses instructions."""
    told = (
        "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE", "MKL_NUM_THREADS",
        "OMP_NUM_THREADS",
    )  # fmt: skip
    return {name: value for name, value in os.environ.items() if name not in told}


def here() -> int:
    """Ask PyTorch which instructions this processor has, as a place in `ATEN`."""
    ask = "import torch; print(torch.backends.cpu.get_cpu_capability())"
    done = subprocess.run(
        [sys.executable, "-c", ask], env=clean(), check=True, capture_output=True, text=True
    )
    answer = done.stdout.strip().lower()
    # A processor that is none of these (ARM, say) has one kind of kernel only.
    return ATEN.index(answer) if answer in ATEN else 0


def processors(*, every: bool) -> Iterator[Processor]:
    """List what is to be run."""
    kinds = itertools.product(ATEN, ONEDNN) if every else zip(ATEN, ONEDNN, strict=True)
    for aten, onednn in kinds:
        yield from (Processor(threads, aten, onednn) for threads in THREADS)
    yield from (Processor(threads) for threads in THREADS)


def run(processor: Processor, arguments: list[str]) -> Outcome:
    """Run pytest on it and count."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider",
             f"--junitxml={report}", *processor.options, *arguments],
            cwd=ROOT, env=processor.environment(), check=False, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        outcome = Outcome(seconds=time.monotonic() - begun)
        if not report.exists():
            outcome.failed.append(f"pytest ended with {done.returncode}: {done.stdout[-300:]}")
            return outcome
        for case in ET.parse(report).iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                outcome.failed.append(f"{case.get('classname')}::{case.get('name')}")
            elif case.find("skipped") is not None:
                outcome.skipped += 1
            else:
                outcome.passed += 1
    if done.returncode and not outcome.failed:
        outcome.failed.append(f"pytest ended with {done.returncode}: {done.stdout[-300:]}")
    return outcome


def rooms() -> list[str]:
    """List what is run where nothing is named."""
    kept = (path for path in sorted((ROOT / "tests").iterdir()) if path.name not in LEFT_OUT)
    holds = (p for p in kept if p.match("test_*.py") or (p.is_dir() and any(p.glob("test_*.py"))))
    return [str(path.relative_to(ROOT)) for path in holds]


def main() -> None:
    """Run, print, and say with the exit status whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--every", action="store_true", help="all combinations of instructions")
    parser.add_argument("--only", default="", help="those whose name contains this")
    chosen, arguments = parser.parse_known_args()
    arguments = arguments or rooms()
    able, bad = here(), False
    print("| processor | passed | failed | skipped | seconds |\n|---|---|---|---|---|", flush=True)
    for processor in processors(every=chosen.every):
        if chosen.only not in processor.name:
            continue
        if processor.level > able:
            print(f"| {processor.name} | not on this processor ({ATEN[able]}) | | | |", flush=True)
            continue
        found = run(processor, arguments)
        bad |= bool(found.failed)
        print(
            f"| {processor.name} | {found.passed} | {len(found.failed)} | {found.skipped} "
            f"| {found.seconds:.0f} |",
            *(f"  {name}" for name in found.failed), sep="\n", flush=True,
        )  # fmt: skip
    sys.exit(bad)


if __name__ == "__main__":
    main()
