"""torchao.quantization.pt2e under this package's name."""

from pt2q.ao.quantization.fake_quantize import *  # noqa: F403
from pt2q.ao.quantization.observer import *  # noqa: F403
from pt2q.ao.quantization.pt2e import *  # noqa: F403
