"""Things with names, of which some can be chosen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from skviz.errors import DataError, entrance
from skviz.scenes.made import Made, step


class Chosen:
    """Several things with names, of which some can be chosen."""

    if TYPE_CHECKING:
        category: tuple[str, ...]
        family: tuple[str, ...]
        made: Made

        @property
        def ids(self) -> tuple[str, ...]:
            """A name for each."""

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Self]:
        return (self[place] for place in range(len(self)))

    @entrance
    def __getitem__(self, part: int | str | slice | Iterable[int], /) -> Self:
        """Choose one by its place or name, or several by a slice or their places."""
        every = range(len(self))
        if isinstance(part, str):
            if part not in self.ids:
                raise DataError(f"there is none called {part!r}; there are {list(self.ids)}")
            part = self.ids.index(part)
        if isinstance(part, slice):
            call = step("[]", slice=list(part.indices(len(self))))
            return self._chosen(every[part], call)
        try:
            there = [every[place] for place in ([part] if isinstance(part, int) else part)]
        except IndexError as error:
            raise DataError(f"there are {len(self)}, 0 to {len(self) - 1}; got {part}") from error
        return self._chosen(there, step("[]", places=there))

    def _chosen(self, places: Sequence[int], call: dict[str, Any]) -> Self:
        """Return those at these places, in this order."""
        there = {
            name: tuple(getattr(self, name)[place] for place in places)
            for name in ("ids", "category", "family")
        }
        return self._replaced(places, made=(*self.made, call), **there)

    def _replaced(self, places: Sequence[int], **names: Any) -> Self:
        raise NotImplementedError

    @entrance
    def where(
        self,
        *,
        category: str | Iterable[str] | None = None,
        family: str | Iterable[str] | None = None,
    ) -> Self:
        """Return those of these categories and families.

        Raises
        ------
        DataError
            If a name does not exist, with those that do, or if nothing is left.
        """
        asked = [
            each if each is None or isinstance(each, str) else list(each)
            for each in (category, family)
        ]
        categories = known(asked[0], self.category, "category")
        families = known(asked[1], self.family, "family")
        kept = [
            place
            for place, pair in enumerate(zip(self.category, self.family, strict=True))
            if pair[0] in categories and pair[1] in families
        ]
        if not kept:
            raise DataError(
                f"no image is of category {sorted(categories)} and family {sorted(families)}"
            )
        return self._chosen(kept, step("where", category=asked[0], family=asked[1]))

    def __repr__(self) -> str:
        first = ", ".join(self.ids[:3])
        more = ", …" if len(self) > 3 else ""
        return f"<{type(self).__name__}: {len(self)}, {first}{more}>"


def known(asked: str | list[str] | None, existing: Iterable[str], what: str) -> set[str]:
    """Return the names asked for, by default all that exist; refuse one that does not."""
    names = set(existing)
    if asked is None:
        return names
    chosen = {asked} if isinstance(asked, str) else set(asked)
    if not chosen or chosen - names:
        wrong = sorted(chosen - names) or "none"
        raise DataError(f"no image has {what} {wrong}; there are {sorted(names)}")
    return chosen


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Listed(Chosen):
    """Some of what can be read from somewhere.

    Attributes
    ----------
    ids, category, family
        N names each.
    made
        Where they come from, and how they were made.
    places
        Which of all that is there they are.
    """

    ids: tuple[str, ...]
    category: tuple[str, ...]
    family: tuple[str, ...]
    made: Made
    places: tuple[int, ...]

    def _replaced(self, places: Sequence[int], **names: Any) -> Self:
        return replace(self, places=tuple(self.places[place] for place in places), **names)
