"""Photographs that are read when a part of them is needed, as scenes of either protocol."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from skviz.errors import DataError, SceneError
from skviz.scenes.cutting import cut_out, joined
from skviz.scenes.layers import Layers
from skviz.scenes.made import sha256_of
from skviz.scenes.pictures import MEMORY, as_mask, as_picture, opened
from skviz.scenes.ready import Enlarged

T = TypeVar("T")
READERS = min(16, os.cpu_count() or 1)  # threads that decode files


class UnusableError(DataError):
    """An image that cannot be read or shown; says which, and why."""

    def __init__(self, name: str, why: Exception) -> None:
        self.why = f"{type(why).__name__}: {why}"
        said = why if isinstance(why, DataError | SceneError) else self.why
        super().__init__(
            f"image {name!r} cannot be used ({said}); mend it, or give on_error='skip'"
        )


def each(
    action: Callable[[int], T], places: Sequence[int], names: Sequence[str], threads: int
) -> list[T | UnusableError]:
    """Do something with the images at these places, several at once; return what that gave.

    Where it raised, whatever a decoder or a data set may raise, that is what it gave.
    """

    def act(place: int, name: str) -> T | UnusableError:
        try:
            with MEMORY.within():
                return action(place)
        except UnusableError as error:
            return error
        except Exception as error:
            unusable = UnusableError(name, error)
            unusable.__cause__ = error
            return unusable

    if len(places) == 1:
        return [act(places[0], names[0])]
    with ThreadPoolExecutor(threads) as pool:  # decoders let go of Python's lock
        return list(pool.map(act, places, names))


def usable(found: Sequence[T | UnusableError]) -> list[T]:
    """Return what was found, or raise the first error among it."""
    for one in found:
        if isinstance(one, UnusableError):
            raise one
    return [one for one in found if not isinstance(one, UnusableError)]


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

    @classmethod
    def of_files(
        cls,
        files: Sequence[Path],
        masks: Sequence[Path | None],
        names: tuple[str, ...],
        seen: Callable[[Path], Any] = opened,
    ) -> Reader:
        """Read files of pictures; `seen` reads the mask in a file."""

        def read(place: int) -> tuple[Any, Any]:
            mask = masks[place]
            return opened(files[place]), None if mask is None else seen(mask)

        def raw(place: int) -> bytes:
            mask = masks[place]
            return files[place].read_bytes() + (b"" if mask is None else mask.read_bytes())

        return cls(read, raw, names, READERS)

    def all(self, action: Callable[[int], T], places: Sequence[int]) -> list[T]:
        """Do something with the pictures at these places, several at once."""
        names = [self.names[place] for place in places]
        return usable(each(action, places, names, self.threads))

    def contents(self, places: Sequence[int]) -> np.ndarray:
        """Return the first 64 bits of the sha256 of what makes each of these what it is."""
        found = self.all(lambda place: sha256_of([self.raw(place)]), places)
        return np.array([int(one[:16], 16) for one in found], np.uint64)


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
