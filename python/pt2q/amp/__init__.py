"""``autocast``: bfloat16 for convolutions and matrix products, on this thread."""

from pt2q.amp.autocast_mode import (
    autocast,
    get_autocast_dtype,
    is_autocast_available,
    is_autocast_enabled,
)

__all__ = ["autocast", "get_autocast_dtype", "is_autocast_available", "is_autocast_enabled"]
