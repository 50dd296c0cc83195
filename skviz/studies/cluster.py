"""Studies on the workers of a Dask cluster, which share the file system of the store.

The model and the scenes go to each worker once; a task is a number.
A task that a dead worker left undone is done by another, with the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from distributed import Client, WorkerPlugin, as_completed, get_worker

from skviz.errors import DataError
from skviz.studies.disk import Disk
from skviz.studies.setting import code_hash

if TYPE_CHECKING:
    from skviz.studies.study import Study


class Workshop(WorkerPlugin):
    """A study on a worker, which does one task at a time.

    Parameters
    ----------
    study, kept
        What is to be measured, and where it goes.
    """

    def __init__(self, study: Study, kept: Disk) -> None:
        self.name = f"skviz-{uuid4()}"
        self.study, self.kept = replace(study, options=replace(study.options, client=None)), kept
        self.code = code_hash()

    def setup(self, worker: Any) -> None:  # noqa: ARG002
        """Put the model on its device."""
        if self.code != code_hash():
            raise DataError("a worker has another skviz; install the same")
        self.study.model.eval().to(self.study.where)
        self.lock = Lock()

    def do(self, task: int) -> int:
        """Do one task; return how many scenes it had."""
        with self.lock:
            return sum(self.study.compute(self.kept, [task]))


def do(name: str, task: int) -> int:
    """Do one task of the study that this worker knows by a name."""
    workshop: Any = get_worker().plugins[name]
    return int(workshop.do(task))


def spread(study: Study, kept: Disk, tasks: Sequence[int], client: Client) -> Iterator[int]:
    """Have the workers do the tasks; yield after each how many scenes it had.

    A study on ``cuda`` uses workers that were started with ``--resources GPU=1``, one task at a
    time on each.
    """
    workshop = Workshop(study, kept)
    client.register_plugin(workshop, name=workshop.name)
    resources = {"GPU": 1} if study.where.type == "cuda" else None
    futures = client.map(
        partial(do, workshop.name), tasks, pure=False, resources=resources, key=workshop.name
    )
    try:
        for future in as_completed(futures):
            yield future.result()
    finally:
        client.cancel(futures)
        client.unregister_worker_plugin(workshop.name)
