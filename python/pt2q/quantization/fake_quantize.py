"""``torch.quantization.fake_quantize``: the older path of ``pt2q.ao.quantization.fake_quantize``."""

from pt2q.ao.quantization.fake_quantize import *  # noqa: F403
