"""Tests of ```skviz.attribution``, mostly beside Captum called once for every target."""
