"""What every study can be told beside model, scenes and scales."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skviz.capture import Unit

if TYPE_CHECKING:
    from distributed import Client as Client
else:
    Client = Any  # Dask is optional


@dataclass(frozen=True)
class Options:
    """What every study can be told.

    Attributes
    ----------
    units
        Names, units, or one of them; by default all that can be shown.
    batch
        Scenes per forward pass. By default 32; on a CPU as many as have 2¹⁷ pixels together, at
        most 64, which fit its caches; there up to 4 batches, one a thread, are measured at once.
    device
        See `skviz.models.device.resolve`.
    progress
        Show a progress bar once it has taken two seconds.
    store
        Keep the result in this Zarr store, and go on where a killed study into it stopped.
    chunk
        Images per task, which is one chunk of every array.
    on_error
        ``"stop"`` at an image that cannot be read, or ``"skip"`` it and name it in the variable
        ``problem``.
    client
        With a store: a Dask client whose workers do the tasks (`skviz.studies.cluster`).
    """

    units: str | Unit | Iterable[str | Unit] | None = None
    batch: int | None = None
    device: str = "auto"
    progress: bool = True
    store: str | os.PathLike[str] | None = None
    chunk: int = 128
    on_error: str = "stop"
    client: Client | None = None
