"""Small models, each a variation of a Selective-Kernel unit, or of something that is none."""

from .held_back import held_back
from .held_back_again import held_back_again
from .kinds import asked_for, not_asked_for
from .literature import literature
from .models import Case
from .negatives import degenerates, negatives
from .positives import positives
from .wrapped import wrapped

__all__ = [
    "Case",
    "asked_for",
    "degenerates",
    "held_back",
    "held_back_again",
    "literature",
    "negatives",
    "not_asked_for",
    "positives",
    "wrapped",
]
