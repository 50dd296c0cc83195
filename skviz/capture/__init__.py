"""What the units of any model compute: found, recorded, changed."""

from __future__ import annotations

from skviz.capture.finding import find_units, units_of
from skviz.capture.layout import Layout
from skviz.capture.units import Unit, Units

__all__ = ["Layout", "Unit", "Units", "find_units", "units_of"]
