"""Exchange with NumPy and other array libraries: shared memory, layouts, dtypes, the NumPy rule."""

import gc
import sys

import numpy as np
import pytest

import pt2q as torch

DTYPES = ["float32", "float64", "float16", "uint8", "int8", "uint16", "int16", "int32", "int64", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip_shares_memory(dtype):
    a = np.arange(6).reshape(2, 3).astype(dtype)
    t = torch.from_numpy(a)
    assert t.dtype is getattr(torch, dtype)
    back = t.numpy()
    assert np.shares_memory(a, back) and back.dtype == a.dtype
    np.testing.assert_array_equal(back, a)


LAYOUTS = {
    "transposed": lambda a: a.transpose(2, 0, 1),
    "strided": lambda a: a[:, ::2, 1:],
    "broadcast": lambda a: np.broadcast_to(a[:1], (5, 4, 6)),
    "fortran": np.asfortranarray,
    "one_element": lambda a: a[:1, :1, :1],
    "empty": lambda a: a[:0],
    "zero_dimensional": lambda a: a[0, 0, :1].reshape(()),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_strided_layouts_are_shared(layout):
    a = LAYOUTS[layout](np.arange(72, dtype=np.float32).reshape(3, 4, 6))
    t = torch.from_numpy(a)
    np.testing.assert_array_equal(t.numpy(), a)
    assert a.size == 0 or t.data_ptr() == a.__array_interface__["data"][0]


def test_layouts_that_cannot_be_shared_are_copied():
    a = np.arange(6, dtype=np.float32)
    np.testing.assert_array_equal(torch.from_numpy(a[::-1]).numpy(), a[::-1])
    swapped = a.astype(">f4")
    np.testing.assert_array_equal(torch.from_numpy(swapped).numpy(), a)
    raw = np.zeros(25, np.uint8)
    unaligned = raw[1:].view(np.float32)
    np.testing.assert_array_equal(torch.from_numpy(unaligned).numpy(), unaligned)
    field = np.zeros(3, dtype=[("a", "i1"), ("b", "f4")])["b"]
    assert torch.from_numpy(field).tolist() == [0, 0, 0]


def test_read_only_arrays_give_read_only_tensors():
    a = np.arange(3, dtype=np.float32)
    a.flags.writeable = False
    t = torch.from_numpy(a)
    assert not t.numpy().flags.writeable
    with pytest.raises(torch.ValueError, match="read-only"):
        t.mul_(2)
    assert (t * 2).tolist() == [0, 2, 4]
    assert t.clone().mul_(2).tolist() == [0, 2, 4]


def test_memory_outlives_its_first_owner():
    t = torch.from_numpy(np.full(1000, 7.0, np.float32))
    gc.collect()
    assert t.sum().item() == 7000
    a = torch.full((1000,), 3.0).numpy()
    gc.collect()
    assert a.sum() == 3000
    base = sys.getrefcount(a)
    t = torch.from_numpy(a)
    view = t[10:20].view(2, 5)
    del t
    assert view.tolist() == [[3.0] * 5] * 2
    del view
    gc.collect()
    assert sys.getrefcount(a) == base


@pytest.mark.parametrize("dtype", ["complex64", "uint64", "U3", "datetime64[s]", "O"])
def test_unsupported_dtypes_are_named(dtype):
    a = np.zeros(2, dtype)
    with pytest.raises(torch.TypeError, match=str(a.dtype).split("[")[0].replace("<", "")) as info:
        torch.from_numpy(a)
    assert "astype" in info.value.hint


def test_not_an_array():
    with pytest.raises(torch.TypeError, match="expected np.ndarray"):
        torch.from_numpy([1, 2])


def test_bfloat16_is_ml_dtypes():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    a = np.array([1.5, -2.25], dtype=ml_dtypes.bfloat16)
    t = torch.from_numpy(a)
    assert t.dtype is torch.bfloat16 and t.tolist() == [1.5, -2.25]
    back = t.numpy()
    assert back.dtype == ml_dtypes.bfloat16 and np.shares_memory(a.view(np.uint16), back.view(np.uint16))


def test_dtype_arguments_may_be_numpys():
    assert torch.zeros(1, dtype=np.int8).dtype is torch.int8
    assert torch.zeros(1, dtype=np.dtype("float64")).dtype is torch.float64
    assert torch.tensor([1], dtype=float).dtype is torch.float64


def test_other_protocols():
    import array

    assert torch.from_numpy(array.array("i", [1, 2])).tolist() == [1, 2]
    assert torch.as_tensor(memoryview(b"ab")).dtype is torch.uint8
    capsule_source = np.arange(4, dtype=np.int16)
    assert torch.from_dlpack(capsule_source).tolist() == [0, 1, 2, 3]
    assert np.from_dlpack(torch.arange(3)).tolist() == [0, 1, 2]

    class WithArray:
        def __array__(self, dtype=None, copy=None):
            return np.ones(2, np.float32)

    assert torch.as_tensor(WithArray()).tolist() == [1, 1]


def test_dlpack_capsule_that_nobody_takes_is_released():
    t = torch.zeros(4)
    before = sys.getrefcount(t)
    capsule = t.__dlpack__()
    del capsule
    gc.collect()
    assert sys.getrefcount(t) == before


def test_numpy_in_numpy_out():
    x = np.array([-1.0, 2.0], np.float32)
    assert isinstance(torch.relu(x), np.ndarray)
    assert isinstance(torch.ops.aten.relu.default(x), np.ndarray)
    assert isinstance(torch.cat([x, x]), np.ndarray)
    values, _ = torch.topk(x, 1)
    assert isinstance(values, np.ndarray)
    t = torch.tensor([1.0, 1.0])
    assert isinstance(torch.add(t, x), torch.Tensor)
    assert isinstance(t + x, torch.Tensor) and isinstance(x + t, torch.Tensor)
    assert (x + t).tolist() == [0, 3]
    assert isinstance(np.exp(t), np.ndarray)


def test_numpy_scalars_are_numbers():
    t = torch.zeros(2)
    assert (t + np.float32(1.5)).tolist() == [1.5, 1.5]
    assert t.view(np.int64(1), 2).shape == (1, 2)
    assert torch.full((1,), float(np.float64(2))).item() == 2


def test_channels_last_is_a_stride_order():
    nhwc = np.random.default_rng(0).random((2, 5, 6, 3), dtype=np.float32)
    t = torch.from_numpy(nhwc.transpose(0, 3, 1, 2))
    assert t.is_contiguous(memory_format=torch.channels_last) and not t.is_contiguous()
    assert t.contiguous(memory_format=torch.channels_last) is t
    assert t.contiguous().stride() == (90, 30, 6, 1)
