"""What a network is, as far as it says itself: name, arguments, categories, canvas."""

from dataclasses import dataclass, field
from typing import Any

from skviz.errors import ModelError, Side


@dataclass(frozen=True)
class Card:
    """What a network is, as far as its file tells; ``model.card`` of every loaded network.

    Attributes
    ----------
    name
        Its name in the zoo.
    network
        Arguments of `SKNet`.
    categories
        Class names in the order of the logits.
    canvas
        Side in pixels of the scenes it was trained on; inputs are RGB in 0…1.
    training
        The recipe: arguments of `recipes.train_objects.Recipe`.
    """

    name: str
    network: dict[str, Any]
    categories: tuple[str, ...]
    canvas: Side
    training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(self.categories)) < len(self.categories):
            raise ModelError("a category is there twice; logits need one name each")
