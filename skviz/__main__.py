"""``python -m skviz`` is the `skviz` command, as torchrun starts it."""

import sys

from skviz.cli import main

sys.exit(main())
