"""What is public holds its arguments to their annotations."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch

from skviz.errors import Count, SkvizError, entrance

NO = "no"


@entrance
def take(
    *,
    whole: int = 0,
    number: float = 0.0,
    yes: bool = False,
    count: Count = 1,
    even: Annotated[int, range(0, 10, 2)] = 0,
    text: str = "",
    word: Literal["a", 1] = "a",
    several: Sequence[float] = (),
    names: Iterable[str] = (),
    pair: tuple[float, float] = (0.0, 0.0),
    named: Mapping[str, int] = {},
    function: Callable[..., Any] | None = None,
    tensor: torch.Tensor | None = None,
) -> dict[str, Any]:
    """Give back what was taken."""
    return locals()


@pytest.mark.parametrize(
    ("name", "given", "got"),
    [
        ("whole", np.int64(3), 3), ("whole", 3.0, NO), ("whole", True, NO), ("whole", "3", NO),
        ("number", 3, 3), ("number", np.float32(0.5), 0.5), ("number", float("nan"), NO),
        ("number", np.inf, NO), ("number", True, NO), ("number", 1j, NO),
        ("yes", np.True_, True), ("yes", 1, NO), ("count", 0, NO), ("count", np.int8(2), 2),
        ("even", 8, 8), ("even", 7, NO), ("text", "a", "a"), ("text", "a\0", NO), ("text", b"", NO),
        ("word", "a", "a"), ("word", True, NO), ("word", np.ones(2), NO), ("word", "b", NO),
        ("several", np.arange(3), [0, 1, 2]), ("several", torch.ones(2), [1.0, 1.0]),
        ("several", "12", NO), ("several", [1, "2"], NO), ("several", np.ones((2, 2)), NO),
        ("several", {1: 2}, NO), ("several", 3, NO), ("several", range(2), range(2)),
        ("names", "one", "one"), ("names", ["a", "b"], ["a", "b"]), ("names", [1], NO),
        ("pair", [1, 2], (1, 2)), ("pair", (1, 2, 3), NO), ("pair", np.zeros(2), (0.0, 0.0)),
        ("named", {"a": 1}, {"a": 1}), ("named", {"a": 1.5}, NO), ("named", [("a", 1)], NO),
        ("function", len, len), ("function", 3, NO), ("tensor", np.ones(2), NO),
        ("tensor", torch.ones(2, device="meta"), NO), ("tensor", torch.ones(2).to_sparse(), NO),
        ("colour", 3, NO),
    ],
)  # fmt: skip
def test_arguments_are_held_to_annotations(name, given, got):
    if got is NO:
        with pytest.raises(SkvizError, match=rf"take: .*{name}"):
            take(**{name: given})
    else:
        taken = take(**{name: given})[name]
        assert taken == got
        assert type(taken) is type(got)


def test_messages_can_be_printed():
    said = str(SkvizError("a\x1b[31m\u202eb\udcff\nä"))
    assert said == "a\\x1b[31m\\u202eb\\udcff\nä"
