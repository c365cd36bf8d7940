"""The same random examples in every run, so that a failure can be repeated and a pass means the same."""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
