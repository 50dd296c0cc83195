"""Small models, each a variation of a Selective-Kernel unit, or of something that is none."""

from .positives import positives

__all__ = ["positives"]
