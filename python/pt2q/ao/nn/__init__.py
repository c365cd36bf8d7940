"""``torch.ao.nn``: fused and quantized modules."""
