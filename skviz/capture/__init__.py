"""What the units of any model compute: found, recorded, changed."""

from __future__ import annotations

from skviz.capture.finding import find_units
from skviz.capture.layout import Layout, Site
from skviz.capture.units import Unit, Units

__all__ = ["Layout", "Site", "Unit", "Units", "find_units"]
