"""Which pixels made a class likely, or a unit prefer a kernel."""

from skviz.attribution.maps import attribute
from skviz.attribution.targets import attention_difference, branch_weight, every_branch
from skviz.attribution.trust import faithfulness

__all__ = ["attention_difference", "attribute", "branch_weight", "every_branch", "faithfulness"]
