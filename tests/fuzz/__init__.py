"""Hostile input at every entrance: ``python -m tests.fuzz [ENTRANCE …] [--share 0.1] [--seed 0]``.

One module for each entrance lists cases: what is given, and what must come of it, known without
the package. `judge` tries them and counts. An entrance is in order if nothing is raw (an exception
that is no `SkvizError`, or one that names another culprit), nothing hangs, and nothing is silent
(an answer where a refusal was due, or another answer than the reference's).
"""
