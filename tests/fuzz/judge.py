"""Try a case, and say how it ended."""

import io
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

from skviz.errors import SkvizError

ENDINGS = ("clean", "raw", "hang", "silent")
LIMIT = 20.0  # seconds


@dataclass(frozen=True)
class Case:
    """What is tried.

    Attributes
    ----------
    name
        For people.
    act
        What is done.
    right
        Whether an answer is right; by default none is, and a refusal is due.
    refusable
        Whether a refusal is as good as a right answer.
    said
        What a refusal must mention.
    """

    name: str
    act: Callable[[], Any]
    right: Callable[[Any], bool] | None = None
    refusable: bool = True
    said: str = ""


class OverTime(BaseException):
    """No answer within the limit."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Interrupt what takes longer, again and again."""

    def over(*_: object) -> None:
        raise OverTime

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def ending(case: Case) -> tuple[str, str]:
    """Try a case; return how it ended, and why."""
    try:
        with (
            limited(LIMIT), warnings.catch_warnings(), redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):  # fmt: skip
            warnings.simplefilter("ignore")
            answer = case.act()
            good = case.right is not None and case.right(answer)
        return ("clean", "") if good else ("silent", f"answered {answer!r:.200}")
    except SkvizError as error:
        said = str(error)
        if case.right is not None and not case.refusable:
            return "silent", f"refused: {said}"
        if len(said) < 10 or case.said not in said:
            return "raw", f"does not say {case.said!r}: {said}"
        if not said.replace("\n", "").isprintable():
            return "raw", f"not printable: {said!r}"
        return "clean", ""
    except OverTime:
        return "hang", ""
    except Exception as error:
        return "raw", f"{type(error).__name__}: {error}".replace("\n", " ")[:300]


def count(cases: Iterable[Case], tell: Callable[[str], None]) -> Counter[str]:
    """Try all, and count how they ended; tell of each that is not clean."""
    found: Counter[str] = Counter()
    for case in cases:
        begun = time.perf_counter()
        how, why = ending(case)
        found[how] += 1
        if how != "clean":
            tell(f"{how}: {case.name}: {why} ({time.perf_counter() - begun:.1f} s)")
    return found
