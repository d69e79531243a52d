"""The core is quick, but so many walks through it add up: fewer of each, unless asked for by a profile."""

from hypothesis import settings

settings.register_profile("quick", max_examples=40, deadline=None)
settings.register_profile("thorough", max_examples=2_000, deadline=None)
settings.load_profile("quick")
