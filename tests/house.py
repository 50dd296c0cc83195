"""The map of the house, read from its code: rooms, arrows between them, circles, lines.

``python -m tests.house`` prints it; `tests/test_house.py` holds CONTRIBUTING to it.
A room is a folder of the package, or a file beside them. An arrow is an import, also one inside a
function; those under ``TYPE_CHECKING`` are none.
"""

import ast
import io
import tokenize
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "skviz"
NOT_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
            tokenize.ENCODING, tokenize.ENDMARKER}  # fmt: skip


def files() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room(module: str) -> str:
    """The room that a module lies in; the package's own file is the face."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "face"


class Imports(ast.NodeVisitor):
    """What a module imports of the package."""

    def __init__(self, modules: dict[str, Path]) -> None:
        self.modules, self.found = modules, set[str]()

    def visit_If(self, node: ast.If) -> None:
        names = {n.id for n in ast.walk(node.test) if isinstance(n, ast.Name)}
        for part in node.orelse if "TYPE_CHECKING" in names else [*node.body, *node.orelse]:
            self.visit(part)

    def visit_Import(self, node: ast.Import) -> None:
        self.found |= {alias.name for alias in node.names if alias.name in self.modules}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert not node.level, "imports name the package"
        for alias in node.names:
            for name in (f"{node.module}.{alias.name}", node.module or ""):
                if name in self.modules:
                    self.found.add(name)
                    break


def arrows() -> dict[str, set[str]]:
    """The modules that each module imports."""
    modules = files()
    found = {}
    for name, path in modules.items():
        seen = Imports(modules)
        seen.visit(ast.parse(path.read_text(encoding="utf-8")))
        found[name] = seen.found - {name}
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Sets of nodes that reach one another (Tarjan 1972), each sorted."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            members = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(members) > 1:
                found.append(sorted(members))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def between_rooms(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The rooms that each room imports from."""
    found: dict[str, set[str]] = {room(module): set() for module in graph}
    for module, others in graph.items():
        found[room(module)] |= {room(other) for other in others} - {room(module)}
    return found


def code_lines(path: Path) -> int:
    """Lines that hold code: no docstring, comment or blank line."""
    text = path.read_text(encoding="utf-8")
    kept: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NOT_CODE:
            kept |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                kept -= set(range(value.lineno, (value.end_lineno or value.lineno) + 1))
    return len(kept)


def drawn(rooms: dict[str, set[str]]) -> str:
    """The map as Mermaid draws it: what an arrow points to is imported.

    An arrow is left out where a longer way leads to the same room, and those to `errors`, which
    everybody imports.
    """
    shown = {name: others - {"errors"} for name, others in rooms.items() if name != "errors"}

    def reached(name: str) -> set[str]:
        found = set(shown[name])
        for other in shown[name]:
            found |= reached(other)
        return found

    lines = ["```mermaid", "flowchart TD"]
    for name in sorted(shown):
        around = {far for other in shown[name] for far in reached(other)}
        lines += [f"  {name} --> {other}" for other in sorted(shown[name] - around)]
    return "\n".join([*lines, "```"])


def main() -> None:
    """Print the map."""
    graph, modules = arrows(), files()
    rooms = between_rooms(graph)
    print(f"{'room':<14}{'files':>6}{'lines':>7}{'code':>7}  imports from")
    stubs = sorted(PACKAGE.rglob("*.pyi"))
    for name in sorted(rooms):
        paths = [path for module, path in modules.items() if room(module) == name]
        paths += [
            path for path in stubs if name == (path.parent.relative_to(PACKAGE).name or "face")
        ]
        lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)
        code = sum(map(code_lines, paths))
        print(f"{name:<14}{len(paths):>6}{lines:>7}{code:>7}  {', '.join(sorted(rooms[name]))}")
    code = sum(map(code_lines, [*modules.values(), *stubs]))
    scripts = sorted(PACKAGE.rglob("*.js"))
    script = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in scripts)
    longest = max(modules.values(), key=lambda p: len(p.read_text(encoding="utf-8").splitlines()))
    length = len(longest.read_text(encoding="utf-8").splitlines())
    print(f"{len(rooms)} rooms, {sum(map(len, rooms.values()))} arrows between rooms, "
          f"{sum(map(len, graph.values()))} between files")  # fmt: skip
    print(f"{code} lines of code in Python, {script} lines of JavaScript")
    print(f"longest file: {longest.relative_to(PACKAGE)}, {length} lines")
    print(f"circles of rooms: {circles(rooms) or 'none'}; of files: {circles(graph) or 'none'}")
    if not circles(rooms):
        print(drawn(rooms))


if __name__ == "__main__":
    main()
