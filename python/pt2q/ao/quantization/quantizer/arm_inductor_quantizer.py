"""ArmInductorQuantizer, at PyTorch's path."""

from pt2q._core import ArmInductorQuantizer, get_default_arm_inductor_quantization_config

__all__ = ["ArmInductorQuantizer", "get_default_arm_inductor_quantization_config"]
