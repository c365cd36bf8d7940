"""executorch.backends.xnnpack."""
