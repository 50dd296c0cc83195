"""Which tests run through which functions of the package: ``pytest -p tests.callers``.

A fixture's functions count for every test that has it, however often it is made.
"""

import json
import sys
import threading
from collections import defaultdict
from pathlib import Path
from types import FrameType

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = f"{ROOT / 'skviz'}/"


class Callers:
    """Writes down the functions that run, under the test or fixture that is current."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.current = [""]
        self.ran: dict[str, set[str]] = defaultdict(set)  # by test or fixture
        self.fixtures: dict[str, list[str]] = {}  # by test
        self.seconds: dict[str, float] = defaultdict(float)

    def note(self, frame: FrameType, event: str, argument: object) -> None:  # noqa: ARG002
        code = frame.f_code
        if code.co_filename.startswith(PACKAGE):
            file = Path(code.co_filename).relative_to(ROOT)
            self.ran[self.current[-1]].add(f"{file}:{code.co_firstlineno}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self.fixtures[item.nodeid] = list(item.fixturenames)
        self.current.append(item.nodeid)
        sys.settrace(self.note)
        threading.settrace(self.note)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
            self.current.pop()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef, request):  # noqa: ARG002
        self.current.append(f"{fixturedef.baseid}::{fixturedef.argname}")
        try:
            return (yield)
        finally:
            self.current.pop()

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self):
        found: dict[str, dict[str, float]] = defaultdict(dict)
        for test, names in self.fixtures.items():
            # Fixtures of the same name elsewhere count too: a test more is no harm.
            keys = [key for key in self.ran if key.rpartition("::")[2] in names]
            for key in (test, *keys):
                for function in self.ran[key]:
                    found[function][test] = round(self.seconds[test], 2)
        self.path.write_text(json.dumps(found))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--callers", type=Path, default=Path("callers.json"))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Callers(config.getoption("--callers")))
