"""The shipped pictures: cut-outs, photographed backgrounds, photographs with masks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from skviz.assets import names_in, read_image
from skviz.errors import DataError
from skviz.scenes.made import Made, step

__all__ = ["Objects", "objects", "photographs", "real_backgrounds"]

TRAIN_FAMILIES = ("noto", "twemoji", "emojione", "fluent")
HELD_OUT_FAMILIES = ("noto-v1", "fxemoji")
HELD_OUT_BACKGROUNDS = ("forest", "gravel", "lobby", "sky", "venice")


def known(asked: Iterable[str] | None, existing: Iterable[str], what: str) -> set[str]:
    """Return the names asked for, by default all that exist; refuse one that does not."""
    names = set(existing)
    if asked is None:
        return names
    chosen = {asked} if isinstance(asked, str) else set(asked)
    if not chosen:
        raise DataError(f"no object is left: {what} names none; there are {sorted(names)}")
    if chosen - names:
        raise DataError(f"no image has {what} {sorted(chosen - names)}; there are {sorted(names)}")
    return chosen


@dataclass(frozen=True, eq=False)
class Objects:
    """Cut-outs with their names.

    Attributes
    ----------
    rgba
        uint8 (N, 4, H, W), straight (not premultiplied) alpha.
    category, family
        What each one shows, and whose design it is; N strings each.
    made
        How they were chosen.
    """

    rgba: Tensor
    category: tuple[str, ...]
    family: tuple[str, ...]
    made: Made = ()

    def __post_init__(self) -> None:
        if self.rgba.ndim != 4 or self.rgba.shape[1] != 4 or self.rgba.dtype != torch.uint8:
            raise DataError(
                "objects must be a uint8 RGBA tensor (N, 4, H, W), got "
                f"{self.rgba.dtype} {tuple(self.rgba.shape)}"
            )
        if not len(self.rgba) == len(self.category) == len(self.family):
            raise DataError(
                f"{len(self.rgba)} cut-outs need as many categories and families, got "
                f"{len(self.category)} and {len(self.family)}"
            )

    def __len__(self) -> int:
        return len(self.rgba)

    def __iter__(self) -> Iterator["Objects"]:
        return (self.take([index]) for index in range(len(self)))

    @property
    def ids(self) -> tuple[str, ...]:
        """``family/category`` of each object."""
        return tuple(f"{f}/{c}" for f, c in zip(self.family, self.category, strict=True))

    @property
    def categories(self) -> tuple[str, ...]:
        """The distinct categories, sorted: the class order of the shipped networks."""
        return tuple(sorted(set(self.category)))

    def take(self, indices: Iterable[int]) -> "Objects":
        """Return the objects at these indices, in this order."""
        chosen = list(indices)
        return Objects(
            self.rgba[chosen],
            tuple(self.category[i] for i in chosen),
            tuple(self.family[i] for i in chosen),
            (*self.made, step("take", indices=chosen)),
        )

    def where(
        self, *, category: Iterable[str] | None = None, family: Iterable[str] | None = None
    ) -> "Objects":
        """Return the objects of these categories and families.

        Raises
        ------
        DataError
            If a name does not exist, with those that do, or if nothing is left.
        """
        category, family = (
            each if each is None or isinstance(each, str) else list(each)
            for each in (category, family)
        )
        categories = known(category, self.category, "category")
        families = known(family, self.family, "family")
        kept = [
            i
            for i, (c, f) in enumerate(zip(self.category, self.family, strict=True))
            if c in categories and f in families
        ]
        if not kept:
            raise DataError(
                f"no object is of category {sorted(categories)} and family {sorted(families)}"
            )
        made = (*self.made, step("where", category=category, family=family))
        return replace(self.take(kept), made=made)


@cache
def all_objects() -> Objects:
    """Read every shipped cut-out once."""
    names = names_in("objects", ".webp")
    parts = [name.removesuffix(".webp").split("/") for name in names]
    return Objects(
        torch.stack([read_image(name, "RGBA") for name in names]),
        tuple(category for _, _, category in parts),
        tuple(family for _, family, _ in parts),
        (step("skviz.objects"),),
    )


def objects(
    *, category: Iterable[str] | None = None, family: Iterable[str] | None = None
) -> Objects:
    """Return the shipped cut-outs: 67 categories, each drawn by six design families.

    Parameters
    ----------
    category, family
        Keep only these (a name or several). The shipped networks never saw the families
        ``"noto-v1"`` and ``"fxemoji"``.

    Raises
    ------
    DataError
        If a name does not exist, no object is left, or a file is missing or altered.
    """
    if category is None and family is None:
        return all_objects()
    return all_objects().where(category=category, family=family)


def real_backgrounds(*, held_out: bool | None = None) -> dict[str, Tensor]:
    """Return the photographed backgrounds by name, uint8 (3, H, W).

    Parameters
    ----------
    held_out
        True for those that the shipped networks never saw, False for the others, None for all.
    """
    names = {Path(name).stem: name for name in names_in("backgrounds")}
    return {
        stem: read_image(name, "RGB")
        for stem, name in names.items()
        if held_out is None or held_out == (stem in HELD_OUT_BACKGROUNDS)
    }


def photographs() -> dict[str, tuple[Tensor, Tensor]]:
    """Return the shipped photographs by name: uint8 (3, H, W) and the object's mask (1, H, W)."""
    masks = names_in("photos", ".mask.png")
    found = {}
    for mask in masks:
        stem = mask.removesuffix(".mask.png")
        picture = next(n for n in names_in("photos") if n.startswith(f"{stem}.") and n != mask)
        found[Path(stem).name] = (read_image(picture, "RGB"), read_image(mask, "L"))
    return found
