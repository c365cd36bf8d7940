"""Names that ExecuTorch keeps under executorch.backends."""
