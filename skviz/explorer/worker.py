"""One thread that computes what was asked last."""

import atexit
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from weakref import WeakSet

__all__ = ["Worker", "asking"]

# Models are asked by one thread at a time, also where two explorers show the same one.
asking = threading.Lock()
Asked = Mapping[str, Any]
Job = Iterator[object]
# Seconds: ipykernel closes the socket of a thread that has ended, with what waits in it.
LINGER = 30.0
_workers: "WeakSet[Worker]" = WeakSet()


@atexit.register
def _leave(patience: float = 2.0) -> None:
    """Have nothing to say any more when ipykernel takes down the socket that all threads share."""
    for worker in list(_workers):
        worker.cancel()
        worker.wait(patience)


class Worker:
    """Runs jobs in steps, in a thread of its own; of each kind only the latest.

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
        self._thread: threading.Thread | None = None
        _workers.add(self)

    def submit(self, kind: str, job: Job, asked: Asked | None = None) -> None:
        """Take on a job in the place of an earlier one of its kind, which takes no further step."""
        with self._changed:
            self._jobs[kind] = job, asked or {}
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="skviz", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def cancel(self) -> None:
        """Drop all jobs; a step that is under way ends first."""
        with self._changed:
            self._jobs.clear()
            self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to do; return whether that came to pass."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._jobs or self._busy), timeout)

    def _run(self) -> None:
        try:
            while kind := self._next():
                self._step(kind)
        finally:  # a thread that is no more must not pass for one that will do it
            with self._changed:
                if self._thread is threading.current_thread():
                    self._thread, self._busy = None, False
                self._changed.notify_all()

    def _next(self) -> str | None:
        """Wait for the next step; return its kind, or None if there has long been nothing to do."""
        with self._changed:
            if not self._jobs:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._jobs, LINGER)
            self._busy = bool(self._jobs)
            if not self._jobs:
                self._thread = None
            return next((kind for kind in self._kinds if kind in self._jobs), None)

    def _step(self, kind: str) -> None:
        with self._changed:
            job, asked = self._jobs.get(kind, (iter(()), {}))  # it may be cancelled by now
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
