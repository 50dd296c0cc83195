"""The examples of what is public run, and each entry point has one."""

import doctest
import inspect
from types import ModuleType

import pytest

import skviz

POINTS = [
    name
    for name in skviz.__all__
    if callable(getattr(skviz, name))
    and not isinstance(getattr(skviz, name), ModuleType)
    and name != "SkvizError"
]


@pytest.mark.parametrize("name", POINTS)
def test_the_example_runs(name):
    point = inspect.unwrap(getattr(skviz, name))
    (found, *_) = doctest.DocTestFinder(recurse=False).find(point, name, globs={})
    assert found.examples, f"{name} has no example"
    out: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(found, out=out.append)
    assert not out, "".join(out)
