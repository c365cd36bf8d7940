"""Bridges to other frameworks. Each is imported on its own: ``import pt2q.interop.torch``."""
