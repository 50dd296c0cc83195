"""Photographs that are read when a part of them is needed, as scenes of either protocol."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skviz.errors import DataError
from skviz.scenes.cutting import cut_out, joined
from skviz.scenes.pictures import as_mask, as_picture
from skviz.scenes.ready import Enlarged
from skviz.scenes.source import named

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from skviz.scenes.layers import Layers

__all__ = ["READERS", "Files", "Reader"]

READERS = min(16, os.cpu_count() or 1)  # threads that decode files


@dataclass(frozen=True, eq=False)
class Reader:
    """How pictures are read.

    Attributes
    ----------
    read
        Gives picture i and its mask or None, in any form that `skviz.scenes.pictures` takes.
    raw
        Gives the bytes that make picture i and its mask what they are.
    names
        Of all pictures.
    threads
        That may call `read` at once.
    """

    read: Callable[[int], tuple[Any, Any]]
    raw: Callable[[int], bytes]
    names: tuple[str, ...]
    threads: int = 1

    def all(self, action: Callable[[int], Any], places: Sequence[int]) -> list[Any]:
        """Do something with the pictures at these places, several at once."""
        if len(places) == 1:
            return [named(self.names[places[0]], action)(places[0])]
        with ThreadPoolExecutor(self.threads) as pool:
            jobs = [pool.submit(named(self.names[place], action), place) for place in places]
            return [job.result() for job in jobs]

    def contents(self, places: Sequence[int]) -> np.ndarray:
        """Return the first 64 bits of the sha256 of what makes each of these what it is."""

        def content(place: int) -> int:
            return int.from_bytes(hashlib.sha256(self.raw(place)).digest()[:8], "big")

        return np.array(self.all(content, places), np.uint64)


@dataclass(frozen=True, eq=False)
class Files:
    """Scenes of pictures that are read when they are needed.

    Attributes
    ----------
    reader
        Of the pictures.
    protocol, canvas
        What is done with them, and the side of the scenes in pixels.
    """

    reader: Reader
    protocol: str
    canvas: int

    @property
    def threads(self) -> int:
        """How many threads may read at once."""
        return self.reader.threads

    def contents(self, places: Sequence[int]) -> np.ndarray:
        """Return 64 bits of the sha256 of what makes each of these what it is."""
        return self.reader.contents(places)

    def ready(self, places: Sequence[int]) -> Layers | Enlarged:
        """Read the pictures at these places."""
        if self.protocol == "zoom":
            pictures = self.reader.all(lambda place: as_picture(self.reader.read(place)[0]), places)
            return Enlarged(tuple(picture[None] for picture in pictures), self.canvas)
        return joined(self.reader.all(self._cut_out, places))

    def _cut_out(self, place: int) -> Layers:
        picture, mask = self.reader.read(place)
        if mask is None:
            raise DataError("protocol 'rescale' needs a mask of the object")
        name = self.reader.names[place]
        return cut_out(as_picture(picture), as_mask(mask), self.canvas, name=name, number=place)
