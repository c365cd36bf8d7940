"""executorch.backends.xnnpack.quantizer."""
