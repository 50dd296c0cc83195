"""Find the Selective-Kernel units of any model, from what it computes."""

from __future__ import annotations

from skviz.units.find import find_units
from skviz.units.layout import Layout, Site
from skviz.units.table import Unit, Units

__all__ = ["Layout", "Site", "Unit", "Units", "find_units"]
