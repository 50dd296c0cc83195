"""Small models, each a variation of a Selective-Kernel unit, or of something that is none."""

from .models import Case
from .negatives import degenerates, negatives
from .positives import positives
from .wrapped import wrapped

__all__ = ["Case", "degenerates", "negatives", "positives", "wrapped"]
