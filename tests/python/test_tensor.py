"""Tensor: construction, methods, indexing, printing, pickling."""

import copy
import math
import pickle

import numpy as np
import pytest

import pt2q as torch

# --- construction ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype", "shape"),
    [
        (3, "int64", ()),
        (2.5, "float32", ()),
        (True, "bool", ()),
        ([1, 2, 3], "int64", (3,)),
        ([1, 2.5], "float32", (2,)),
        ([[1, 2], [3, 4]], "int64", (2, 2)),
        ([[True], [False]], "bool", (2, 1)),
        ([], "float32", (0,)),
        ([[], []], "float32", (2, 0)),
        ((1.0, (2)), "float32", (2,)),
    ],
)
def test_tensor_infers_dtype_and_shape(data, dtype, shape):
    t = torch.tensor(data)
    assert (str(t.dtype), tuple(t.shape)) == (f"pt2q.{dtype}", shape)


def test_tensor_copies_and_keeps_exact_integers():
    big = 2**62 + 1
    assert torch.tensor([big, -big]).tolist() == [big, -big]
    a = np.zeros(3, np.float32)
    t = torch.tensor(a)
    a[0] = 1
    assert t.tolist() == [0, 0, 0]


@pytest.mark.parametrize("data", [[[1, 2], [3]], [1, [2]], [[1], 2]])
def test_ragged_data_is_refused(data):
    with pytest.raises(torch.ValueError, match="ragged|expected sequence of length"):
        torch.tensor(data)


def test_unusable_data_is_refused():
    with pytest.raises(torch.TypeError, match="str"):
        torch.tensor(["a"])
    with pytest.raises(torch.ValueError, match="64 bits"):
        torch.tensor([2**70])


def test_creation():
    assert torch.zeros(2, 3).shape == (2, 3)
    assert torch.ones((2, 3), dtype=torch.int8).dtype is torch.int8
    assert torch.full((2,), 7).dtype is torch.int64
    assert torch.full((2,), 7.5).tolist() == [7.5, 7.5]
    assert torch.arange(5).tolist() == [0, 1, 2, 3, 4]
    assert torch.arange(1, 2, 0.25).tolist() == [1.0, 1.25, 1.5, 1.75]
    assert torch.eye(2).tolist() == [[1, 0], [0, 1]]
    assert torch.linspace(0, 1, 5).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert torch.empty(2, 3, 4, 5, memory_format=torch.channels_last).stride() == (60, 1, 15, 3)
    assert torch.zeros_like(torch.ones(2, dtype=torch.int32)).tolist() == [0, 0]
    with pytest.raises(torch.ValueError, match="negative"):
        torch.zeros(2, -1)


# --- random numbers -------------------------------------------------------------------------------


def test_seed_repeats_and_generators_are_independent():
    torch.manual_seed(1)
    a = torch.rand(5)
    torch.manual_seed(1)
    g = torch.Generator().manual_seed(1)
    assert torch.equal(torch.rand(5, generator=g), a)
    assert torch.equal(torch.rand(5), a)  # drawing from g did not move the global stream
    assert torch.manual_seed(5).initial_seed() == 5


def test_random_ranges():
    torch.manual_seed(0)
    u = torch.rand(1000).numpy()
    assert u.min() >= 0 and u.max() < 1 and abs(u.mean() - 0.5) < 0.05
    n = torch.randn(1000).numpy()
    assert abs(n.mean()) < 0.15 and abs(n.std() - 1) < 0.1
    i = torch.randint(3, 7, (500,)).numpy()
    assert set(i) == {3, 4, 5, 6}
    assert sorted(torch.randperm(50).tolist()) == list(range(50))
    with pytest.raises(torch.ValueError, match="from=3 >= to=3"):
        torch.randint(3, 3, (2,))
    with pytest.raises(torch.ValueError, match="64 bits"):
        torch.manual_seed(2**64)


# --- methods and operators ------------------------------------------------------------------------


def test_methods_come_from_the_operator_table():
    x = torch.arange(12).view(3, 4).float()
    assert x.t().shape == (4, 3)
    assert x.permute(1, 0).stride() == (1, 4)
    assert x.reshape(2, -1).shape == (2, 6)
    assert x.sum(0, keepdim=True).tolist() == [[12, 15, 18, 21]]
    values, indices = x.topk(2, 1, True, True)
    assert values.tolist() == [[3, 2], [7, 6], [11, 10]] and indices[0].tolist() == [3, 2]
    assert x.max(1).values.tolist() == [3, 7, 11]
    assert x.max().item() == 11
    assert torch.flatten(x).shape == (12,)
    assert torch.cat([x, x], dim=1).shape == (3, 8)
    assert torch.matmul(x, x.t()).shape == (3, 3)
    assert torch.sum(input=x, dim=0).shape == (4,)
    assert [c.shape for c in x.split(2, dim=1)] == [(3, 2), (3, 2)]


def test_accuracy_of_the_tutorial():
    output = torch.tensor([[0.1, 0.9, 0.0], [0.8, 0.1, 0.1], [0.2, 0.3, 0.5]])
    target = torch.tensor([1, 2, 2])
    _, pred = output.topk(2, 1, True, True)
    correct = pred.t().eq(target.view(1, -1).expand_as(pred.t()))
    top1 = correct[:1].reshape(-1).float().sum(0, keepdim=True).mul_(100.0 / 3)
    assert "%2.2f" % top1[0] == "66.67"  # noqa: UP031
    assert f"{top1[0]:6.1f}" == "  66.7"


def test_in_place_returns_the_same_object():
    x = torch.tensor([-1.0, 2.0])
    y = x.relu_()
    assert y is x and x.tolist() == [0, 2]
    z = x
    z += 1
    assert z is x and x.tolist() == [1, 3]


def test_arithmetic_with_numbers_and_broadcasting():
    x = torch.tensor([[1.0], [2.0]])
    assert (x + torch.tensor([10.0, 20.0])).tolist() == [[11, 21], [12, 22]]
    assert (1 - x).tolist() == [[0], [-1]]
    assert (2 / x).tolist() == [[2], [1]]
    assert (x**2).tolist() == [[1], [4]]
    assert (2**x).tolist() == [[2], [4]]
    assert (x // 2).tolist() == [[0], [1]]
    assert (-x).tolist() == [[-1], [-2]]
    assert (x > 1).tolist() == [[False], [True]]
    assert (x == 1).dtype is torch.bool
    assert (torch.tensor([5, 6]) % 4).tolist() == [1, 2]
    assert (~torch.tensor([True, False])).tolist() == [False, True]
    assert (x @ x.t()).shape == (2, 2)


def test_type_promotion_of_numbers():
    assert (torch.tensor([1]) + 1.5).dtype is torch.float32
    assert (torch.tensor([1], dtype=torch.int8) + 1).dtype is torch.int8
    assert (torch.tensor([1]) / 2).dtype is torch.float32


def test_python_protocols():
    x = torch.tensor([[1, 2], [3, 4]])
    assert len(x) == 2 and [r.tolist() for r in x] == [[1, 2], [3, 4]]
    assert 3 in x and 9 not in x
    assert float(torch.tensor(2.5)) == 2.5 and int(torch.tensor([7])) == 7
    assert ["a", "b"][torch.tensor(1)] == "b"
    assert bool(torch.tensor([0])) is False
    with pytest.raises(torch.RuntimeError, match="ambiguous"):
        bool(x)
    with pytest.raises(torch.TypeError, match="0-d"):
        iter(torch.tensor(1))
    with pytest.raises(torch.ValueError, match="one element"):
        float(x)


def test_conversions():
    x = torch.tensor([1.7, -2.3])
    assert x.int().tolist() == [1, -2]
    assert x.to(torch.float64).dtype is torch.float64
    assert x.to(torch.float32) is x
    assert x.to("cpu") is x
    assert x.to(dtype=torch.bfloat16).dtype is torch.bfloat16
    assert x.type(torch.int8).dtype is torch.int8
    with pytest.raises(torch.NotImplementedError, match="CUDA"):
        x.cuda()


def test_unknown_method_names_the_operator():
    with pytest.raises(AttributeError, match="frobnicate"):
        torch.tensor(1).frobnicate()
    assert not hasattr(torch.tensor(1), "frobnicate")
    assert not hasattr(torch, "frobnicate")


# --- indexing -------------------------------------------------------------------------------------

INDICES = [
    0,
    -1,
    slice(1, None),
    slice(None, None, 2),
    (slice(None), 1),
    (..., 0),
    (0, ..., slice(0, 2)),
    None,
    (slice(None), None, 1),
    (0, 1, 2),
    (slice(None), slice(None), slice(0, 4, 2)),
    (slice(-2, None), slice(None, -1)),
    [0, 1],
    (slice(None), [0, 2]),
    ([0, 1], [1, 2]),
    (..., [3, 0]),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_reading_and_writing_match_numpy(index):
    a = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    t = torch.tensor(a)
    np.testing.assert_array_equal(np.asarray(t[index]), a[index])
    a[index] = -1
    t[index] = -1
    np.testing.assert_array_equal(t.numpy(), a)


def test_mask_index_and_views():
    t = torch.tensor([[1.0, -2.0], [-3.0, 4.0]])
    assert t[t < 0].tolist() == [-2, -3]
    t[t < 0] = 0
    assert t.tolist() == [[1, 0], [0, 4]]
    t[0].mul_(5)  # a view writes through
    assert t.tolist() == [[5, 0], [0, 4]]
    assert t[torch.tensor([1, 0])].tolist() == [[0, 4], [5, 0]]


def test_bad_indices():
    t = torch.zeros(2, 3)
    with pytest.raises(torch.IndexError, match="index 2 is out of bounds for dimension 0 with size 2"):
        t[2]
    with pytest.raises(torch.IndexError, match="too many indices"):
        t[0, 0, 0]
    with pytest.raises(torch.ValueError, match="step"):
        t[::-1]
    with pytest.raises(torch.TypeError, match="indices"):
        t["a"]
    with pytest.raises(IndexError):  # the built-in catches it too
        t.size(5)


# --- printing, copying ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: torch.tensor([1.0, 2.5]), "tensor([1.0000, 2.5000])"),
        (lambda: torch.tensor([1.0, 2.0]), "tensor([1., 2.])"),
        (lambda: torch.tensor([[1, 20], [3, 4]]), "tensor([[ 1, 20],\n        [ 3,  4]])"),
        (lambda: torch.tensor([1e-8, 1.0]), "tensor([1.0000e-08, 1.0000e+00])"),
        (lambda: torch.tensor(3, dtype=torch.int8), "tensor(3, dtype=pt2q.int8)"),
        (lambda: torch.tensor([True]), "tensor([True])"),
        (lambda: torch.zeros(2, 0), "tensor([], size=(2, 0))"),
        (lambda: torch.arange(2000), "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])"),
        (lambda: torch.tensor([math.nan, math.inf, 1.0]), "tensor([nan, inf, 1.])"),
    ],
)
def test_repr(make, text):
    assert repr(make()) == text


def test_repr_of_a_long_matrix_is_summarised():
    text = repr(torch.zeros(100, 100))
    assert text.count("...") == 7 and text.startswith("tensor([[0., 0., 0.,  ..., 0., 0., 0.],\n")


def test_copy_and_pickle():
    x = torch.arange(24).view(1, 2, 3, 4).float().contiguous(memory_format=torch.channels_last)
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert torch.equal(x, y) and y.stride() == x.stride() and not y._shares_storage(x)
    b = pickle.loads(pickle.dumps(torch.tensor([1.5], dtype=torch.bfloat16)))
    assert b.dtype is torch.bfloat16 and b.item() == 1.5
    sliced = torch.arange(10)[::3]
    assert pickle.loads(pickle.dumps(sliced)).tolist() == [0, 3, 6, 9]
    for value in (torch.float32, torch.channels_last, torch.device("cpu"), torch.Size([1, 2]), torch.strided):
        assert pickle.loads(pickle.dumps(value)) == value
        assert copy.deepcopy(value) == value


def test_dtypes_are_singletons_with_facts():
    assert torch.zeros(1).dtype is torch.float32 is torch.float
    assert repr(torch.quint8) == "pt2q.quint8"
    assert torch.bfloat16.is_floating_point and not torch.int8.is_floating_point
    assert torch.int16.itemsize == 2 and torch.uint8.is_signed is False
    assert torch.promote_types(torch.uint8, torch.int8) is torch.int16
    assert torch.finfo(torch.float16).max == 65504 and torch.finfo().eps == 2**-23
    assert (torch.iinfo(torch.int8).min, torch.iinfo(torch.uint8).max) == (-128, 255)


def test_allclose_and_equal():
    a = torch.tensor([1.0, math.inf])
    assert torch.allclose(a, a.clone()) and torch.equal(a, a.clone())
    assert not torch.allclose(a, torch.tensor([1.1, math.inf]))
    assert not torch.allclose(a, torch.tensor([1.0, 5.0]))
    nan = torch.tensor([math.nan])
    assert not torch.allclose(nan, nan) and torch.allclose(nan, nan, equal_nan=True)
    assert not torch.equal(torch.zeros(2), torch.zeros(3))


def test_grad_modes_are_contexts_and_decorators():
    assert torch.is_grad_enabled()
    with torch.no_grad():
        assert not torch.is_grad_enabled()
        with torch.enable_grad():
            assert torch.is_grad_enabled()
    assert torch.no_grad()(torch.is_grad_enabled)() is False
    assert torch.no_grad(torch.is_grad_enabled)() is False
    with torch.set_grad_enabled(False):
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    with torch.inference_mode():
        assert torch.is_inference_mode_enabled()
    assert not torch.is_inference_mode_enabled()
