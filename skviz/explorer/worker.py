"""One thread that computes what was asked last."""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

# Models are asked by one thread at a time, also where two explorers show the same one.
asking = threading.Lock()
Asked = Mapping[str, Any]
Job = Iterator[object]


class Worker:
    """Runs jobs in steps, in a thread of its own; of each kind only the latest.

    When the program ends, the step under way ends first and no other begins: what a thread tells
    the browser while ipykernel takes down its sockets would tear other messages apart.

    Parameters
    ----------
    kinds
        The kinds of jobs, the most urgent first. Before each step the most urgent job is chosen.
    failed
        Called with what was asked and what the job raised; the job is then over. A job that has
        been replaced meanwhile fails in silence: nobody waits for it.
    """

    def __init__(self, kinds: tuple[str, ...], failed: Callable[[Asked, Exception], None]) -> None:
        self._kinds, self._failed = kinds, failed
        self._jobs: dict[str, tuple[Job, Asked]] = {}
        self._changed = threading.Condition()
        self._busy = False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="skviz")

    def submit(self, kind: str, job: Job, asked: Asked | None = None) -> None:
        """Take on a job in the place of an earlier one of its kind, which takes no further step."""
        with self._changed:
            self._jobs[kind] = job, asked or {}
            if not self._busy:
                self._go()

    def cancel(self) -> None:
        """Drop all jobs; a step that is under way ends first."""
        with self._changed:
            self._jobs.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to do; return whether that came to pass."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, timeout)

    def _go(self) -> None:
        self._busy = False
        if self._jobs:
            with suppress(RuntimeError):  # the program ends
                self._pool.submit(self._run)
                self._busy = True

    def _run(self) -> None:
        try:
            self._step()
        finally:
            with self._changed:
                self._go()
                self._changed.notify_all()

    def _step(self) -> None:
        with self._changed:
            kind = next((kind for kind in self._kinds if kind in self._jobs), None)
            if kind is None:
                return
            job, asked = self._jobs[kind]
        error: Exception | None = None
        try:
            with asking:
                next(job)
            return
        except StopIteration:
            pass
        except SystemExit as left:  # a model may raise anything: it is shown, not lost
            error = RuntimeError(f"SystemExit: {left}")
        except Exception as raised:
            error = raised
        with self._changed:
            latest = self._jobs.get(kind, (None,))[0] is job
            if latest:
                del self._jobs[kind]
        if error and latest:
            self._failed(asked, error)
