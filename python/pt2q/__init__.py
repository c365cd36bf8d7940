"""PyTorch 2 Export quantization without PyTorch, under PyTorch's names.

``import pt2q as torch`` and go on: capture with ``pt2q.export.export``, quantize with
``pt2q.ao.quantization.quantize_pt2e``, lower with ``pt2q.compile``. NumPy arrays are accepted
everywhere: NumPy in, NumPy out; Tensor in, Tensor out.
"""

from __future__ import annotations

from typing import Any

from pt2q import _core, _lazy
from pt2q._core import (
    AssertionError,
    Error,
    FileError,
    IndexError,
    InternalError,
    KeyError,
    NotImplementedError,
    QuantizedTensor,
    RuntimeError,
    SymInt,
    TypeError,
    ValueError,
    __version__,
    bfloat16,
    bool,
    channels_last,
    channels_last_3d,
    contiguous_format,
    dequantize,
    device,
    dtype,
    float8_e4m3fn,
    float8_e5m2,
    float16,
    float32,
    float64,
    from_dlpack,
    int8,
    int16,
    int32,
    int64,
    layout,
    memory_format,
    preserve_format,
    promote_types,
    qint8,
    qint32,
    quantize_per_channel,
    quantize_per_tensor,
    quint4x2,
    quint8,
    strided,
    uint8,
    uint16,
)
from pt2q._creation import (
    Generator,
    arange,
    as_tensor,
    asarray,
    default_generator,
    empty,
    empty_like,
    eye,
    from_numpy,
    full,
    full_like,
    get_default_dtype,
    initial_seed,
    linspace,
    manual_seed,
    ones,
    ones_like,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    randperm,
    scalar_tensor,
    seed,
    set_default_dtype,
    tensor,
    zeros,
    zeros_like,
)
from pt2q._functions import (
    allclose,
    equal,
    finfo,
    get_num_threads,
    iinfo,
    is_floating_point,
    is_tensor,
    isclose,
    numel,
    set_num_threads,
    set_printoptions,
)
from pt2q._grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from pt2q._ops import ops
from pt2q._size import Size
from pt2q._tensor import Tensor, split

float = float32
double = float64
half = float16
short = int16
int = int32
long = int64

# Loaded when first used, so that `import pt2q` stays light.
_PACKAGES = {
    "_export",
    "amp",
    "ao",
    "debug",
    "export",
    "fx",
    "interop",
    "ipex",
    "jit",
    "nn",
    "quantization",
    "serialization",
    "testing",
    "utils",
    "vision",
    "xpu",
}
_MEMBERS = {
    "autocast": "pt2q.amp",
    "get_autocast_dtype": "pt2q.amp",
    "is_autocast_enabled": "pt2q.amp",
    "calibrate": "pt2q._calibrate",
    "compile": "pt2q._compile",
    "convert_pt2e": "pt2q.ao.quantization.quantize_pt2e",
    "load": "pt2q.serialization",
    "prepare_pt2e": "pt2q.ao.quantization.quantize_pt2e",
    "prepare_qat_pt2e": "pt2q.ao.quantization.quantize_pt2e",
    "save": "pt2q.serialization",
}


def _operator_or_core(name: str) -> Any:
    """Every operator of ``pt2q.ops.aten``, else what the compiled module has."""
    if not name.startswith("_") and _core.has_packet(f"aten.{name}"):
        return getattr(ops.aten, name)
    return getattr(_core, name, None)


__getattr__, _own_names = _lazy.names(
    globals(), packages=_PACKAGES, members=_MEMBERS, otherwise=_operator_or_core
)


def __dir__() -> list[str]:
    return sorted({*_own_names(), *dir(ops.aten)})
