"""Which pixels made a class likely, or a unit prefer a kernel."""

from skviz.attribution.maps import attribute
from skviz.attribution.trust import faithfulness

__all__ = ["attribute", "faithfulness"]
