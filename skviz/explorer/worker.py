"""One thread that computes what was asked last."""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["Worker", "asking"]

# Models are asked by one thread at a time, also where two explorers show the same one.
asking = threading.Lock()
Asked = Mapping[str, Any]


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
        self._jobs: dict[str, tuple[Iterator[object], Asked]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, kind: str, job: Iterator[object], asked: Asked | None = None) -> None:
        """Take on a job in the place of an earlier one of its kind, which takes no further step."""
        with self._lock:
            self._jobs[kind] = job, asked or {}
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="skviz", daemon=True)
                self._thread.start()

    def cancel(self) -> None:
        """Drop all jobs; a step that is under way ends first."""
        with self._lock:
            self._jobs.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to do; return whether that came to pass."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._lock:
                kind = next((kind for kind in self._kinds if kind in self._jobs), None)
                if kind is None:
                    self._thread = None
                    return
                job, asked = self._jobs[kind]
            error = None
            try:
                with asking:
                    next(job)
                continue
            except StopIteration:
                pass
            except Exception as raised:  # whatever a user's model raises is shown, not lost
                error = raised
            with self._lock:
                latest = self._jobs.get(kind, (None,))[0] is job
                if latest:
                    del self._jobs[kind]
            if error and latest:
                self._failed(asked, error)
