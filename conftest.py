"""Test session set-up: one thread, no display, and every annotated call of both packages checked."""

import os

# before torch is imported: on two shared cores a second thread makes small models slower, not faster
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

from beartype import BeartypeConf
from beartype.claw import beartype_package
from hypothesis import settings

# is_random=False: checking a random item of each list would draw from the very stream that the tests compare
for package in ("lightning_explain", "tensorboard_explain"):
    beartype_package(package, conf=BeartypeConf(is_random=False, is_pep484_tower=True))

# no deadline: the machines that run the tests are shared
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")
