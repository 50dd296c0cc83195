"""Change numbers in the package and see whether the tests notice: ``python -m tests.mutations``.

A fixed seed chooses mutations of what carries numbers in ``skviz/``: a constant, a sign, an
operator, a comparison. Each is made in a copy of the checkout, where the tests that run through the
changed function are run, quickest first, until one fails. What no test notices is printed.

Which tests run through a function is found by running all of them once (`tests.callers`); that
takes as long as the tests do, and is kept where ``--map FILE`` says. Ends with 1 if more than
``--live`` (3) mutations live.
"""

import argparse
import ast
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "skviz"
COPIED = (PACKAGE, "recipes", "tests", "data", "tools", "notebooks", "docs", "benchmarks")
SWAPPED = {
    ast.Add: "+-", ast.Sub: "-+", ast.Mult: "*/", ast.Div: "/*",
    ast.Lt: ["<", "<="], ast.LtE: ["<=", "<"], ast.Gt: [">", ">="], ast.GtE: [">=", ">"],
    ast.Eq: ["==", "!="], ast.NotEq: ["!=", "=="],
}  # fmt: skip
# Not mutated, since no number of a result is in them: how long is waited, how a figure looks (which
# its golden picture holds), how much is done at a time,
ASIDE = {
    "delay", "stacklevel", "timeout", "total", "linewidth", "linewidths", "markersize", "fontsize",
    "zorder", "alpha", "pad", "labelpad", "columnspacing", "handlelength",
    "handletextpad", "borderaxespad",
    "width_ratios", "height_ratios", "wspace", "hspace", "linespacing",
}  # fmt: skip
SPEED = {"BUDGET", "MOST_ROWS", "PIXELS", "WAITING", "MOST", "KEPT_VALUES", "PATIENCE"}
# and places in a sequence: ``shape[-1]`` for ``shape[3]`` is no mistake, and another is an error.


@dataclass(frozen=True)
class Mutation:
    """One place in one file, and what is put there."""

    file: str
    line: int
    start: int  # in bytes, from the beginning of the file
    end: int
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.old} → {self.new}"

    def applied(self, source: bytes) -> bytes:
        """Give the file's content with it."""
        return source[: self.start] + self.new.encode() + source[self.end :]


class Places(ast.NodeVisitor):
    """Collect the mutations of a file."""

    def __init__(self, file: str, source: bytes) -> None:
        self.file, self.source, self.found = file, source, list[Mutation]()
        self.lines = [0]
        for line in source.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line))
        self.visit(ast.parse(source))

    def at(self, line: int, column: int) -> int:
        """Give the place in the file, in bytes."""
        return self.lines[line - 1] + column

    def note(self, line: int, start: int, end: int, new: str) -> None:
        """Write down one mutation."""
        old = self.source[start:end].decode()
        self.found.append(Mutation(self.file, line, start, end, old, new))

    def between(self, left: ast.expr, right: ast.expr, operator: ast.AST) -> None:
        """Swap the operator between two operands."""
        old, new = SWAPPED.get(type(operator), ("", ""))
        start = self.at(left.end_lineno or 0, left.end_col_offset or 0)
        place = self.source.find(old.encode(), start, self.at(right.lineno, right.col_offset))
        if old and place >= 0:
            self.note(left.end_lineno or 0, place, place + len(old), new)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Make a number larger by one (mutmut's convention), half as large where below one."""
        if type(node.value) in (int, float):
            new = repr(node.value + 1) if abs(node.value) >= 1 or not node.value else None
            start, end = self.at(node.lineno, node.col_offset), node.end_col_offset or 0
            end = self.at(node.end_lineno or 0, end)
            self.note(node.lineno, start, end, new or repr(node.value * 2))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        """Take a minus away."""
        if isinstance(node.op, ast.USub):
            start = self.at(node.lineno, node.col_offset)
            self.note(node.lineno, start, start + 1, "")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """Swap an operator between what can be numbers."""
        if not any(isinstance(side, TEXT) for side in (node.left, node.right)):
            self.between(node.left, node.right, node.op)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        """Swap a comparison unless it is with a text."""
        sides = [node.left, *node.comparators]
        if not any(isinstance(side, TEXT) or is_text(side) for side in sides):
            for left, operator, right in zip(sides, node.ops, sides[1:], strict=False):
                self.between(left, right, operator)
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        """Leave aside what carries no number of the result."""
        if node.arg not in ASIDE:
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Leave annotations as they are."""
        if node.value:
            self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        """Leave what is about speed."""
        if not any(isinstance(name, ast.Name) and name.id in SPEED for name in node.targets):
            self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Leave plain indices; where they are calculated is another matter."""
        self.visit(node.value)
        for part in ast.walk(node.slice):
            if isinstance(part, (ast.BinOp, ast.Compare, ast.Call)):
                self.visit(part)

    def visit_arguments(self, node: ast.arguments) -> None:
        """Leave annotations as they are; defaults are numbers too."""
        for default in (*node.defaults, *node.kw_defaults):
            if default:
                self.visit(default)


TEXT = (ast.JoinedStr, ast.List, ast.Tuple, ast.ListComp)


def is_text(node: ast.expr) -> bool:
    """Whether an expression is a text in quotation marks."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def mutations() -> list[Mutation]:
    """List all mutations of the package."""
    found = []
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        found += Places(str(path.relative_to(ROOT)), path.read_bytes()).found
    return found


def chosen(count: int, seed: int, only: str) -> list[Mutation]:
    """Draw mutations, no two of the same line."""
    drawn: dict[tuple[str, int], Mutation] = {}
    everything = mutations()
    random.Random(seed).shuffle(everything)
    for mutation in everything:
        drawn.setdefault((mutation.file, mutation.line), mutation)
    return [m for m in list(drawn.values())[:count] if re.search(only, m.file)]


def copied(folder: Path) -> Path:
    """Copy what the tests need."""
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
        elif path.name in COPIED:
            skipped = shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, folder / path.name, ignore=skipped)
    return folder


def pytest(folder: Path, arguments: list[str], seconds: float) -> int:
    """Run pytest in a copy; the exit status, or 1 if it took too long."""
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.setdefault("OMP_NUM_THREADS", "1")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *arguments]
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, check=False, timeout=seconds,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ).returncode  # fmt: skip
    except subprocess.TimeoutExpired:
        return 1


Map = dict[str, dict[str, float]]


def callers(folder: Path, tests: list[str], kept: Path) -> Map:
    """Find the tests (and their seconds) that run through each function ``file:line``."""
    if not kept.exists():
        tests = tests or ["tests", "--ignore=tests/browser"]
        arguments = ["-p", "tests.callers", f"--callers={kept.absolute()}", *tests]
        if pytest(folder, arguments, 4 * 3600):
            kept.unlink(missing_ok=True)
            raise SystemExit("the tests fail as they are; mend them first")
    return json.loads(kept.read_text())


def functions(source: bytes) -> Iterator[tuple[int, int]]:
    """Give the first and last line of each function, decorators included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            decorators = getattr(node, "decorator_list", [])
            yield min([node.lineno, *(d.lineno for d in decorators)]), node.end_lineno or 0


def tests_of(mutation: Mutation, source: bytes, known: Map) -> dict[str, float]:
    """Give the tests that run through it; outside functions, those that use its file."""
    around = [f for f in functions(source) if f[0] <= mutation.line <= f[1]]
    through = [known.get(f"{mutation.file}:{first}", {}) for first, _ in sorted(around)[::-1]]
    through = through[:1] or [v for k, v in known.items() if k.startswith(f"{mutation.file}:")]
    return {test: seconds for tests in through for test, seconds in tests.items()}


def lives(mutation: Mutation, folder: Path, known: Map) -> bool:
    """Whether no test notices a mutation."""
    path = folder / mutation.file
    source = path.read_bytes()
    tests = tests_of(mutation, source, known)
    if not tests:
        return True
    (folder / "tests.txt").write_text("\n".join(sorted(tests, key=tests.__getitem__)))
    path.write_bytes(mutation.applied(source))
    try:
        return pytest(folder, ["@tests.txt"], 120 + 5 * sum(tests.values())) == 0
    finally:
        path.write_bytes(source)


def main() -> None:
    """Mutate, test, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--live", type=int, default=3, help="as many may live")
    parser.add_argument("--only", default="", help="of those drawn, in files that match this")
    parser.add_argument("--map", type=Path, help="where it is kept which tests run through what")
    parser.add_argument("tests", nargs="*", help="and options of pytest, for finding the map")
    asked, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as name:
        folder = copied(Path(name))
        known = callers(folder, asked.tests + options, asked.map or folder / "callers.json")
        drawn = chosen(asked.count, asked.seed, asked.only)
        alive = 0
        for mutation in drawn:
            alive += (living := lives(mutation, folder, known))
            print(f"{'LIVES' if living else 'found'} {mutation}", flush=True)
        print(f"{alive} of {len(drawn)} mutations live")
    sys.exit(alive > asked.live)


if __name__ == "__main__":
    main()
