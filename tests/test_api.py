"""Nothing public is removed or renamed unseen."""

from tests import api


def test_public_names_and_signatures_are_those_that_were_kept():
    assert api.listed() == api.KEPT.read_text(encoding="utf-8"), "python -m tests.api, on purpose"
