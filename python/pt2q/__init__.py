from pt2q._core import *  # noqa
