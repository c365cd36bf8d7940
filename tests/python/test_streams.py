"""Many calls at once: CompiledModel.async_map."""

import gc
import threading

import numpy as np
import pytest

import pt2q as torch
from pt2q import nn
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)
from pt2q.vision.models import resnet18


def images(count, size=64):
    random = np.random.default_rng(3)
    return [random.normal(size=(1, 3, size, size)).astype(np.float32) for _ in range(count)]


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return torch.relu(x) + y, x - y


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    data = images(2)
    captured = torch.export.export(resnet18().eval(), (torch.from_numpy(data[0]),)).module()
    quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(captured, quantizer)
    prepared(data[1])
    return torch.compile(convert_pt2e(prepared))


@pytest.fixture(scope="module")
def two_inputs():
    x = torch.ones(4)
    return torch.compile(torch.export.export(TwoInputs(), (x, x)).module())


def bits(array):
    return np.ascontiguousarray(array).view(np.uint8)


@pytest.mark.parametrize("streams", [None, 1, 2, 5])
def test_results_are_those_of_plain_calls_in_order(model, streams):
    items = images(9)
    expected = [model(x) for x in items]
    results = list(model.async_map(items, streams=streams))
    assert len(results) == len(expected)
    for got, want in zip(results, expected):
        assert isinstance(got, np.ndarray)
        np.testing.assert_array_equal(bits(got), bits(want))


def test_items_are_arrays_tensors_or_tuples_from_a_generator(two_inputs, model):
    pairs = [(np.full(4, i, np.float32), np.ones(4, np.float32)) for i in range(7)]
    results = list(two_inputs.async_map((list(p) if i % 2 else p) for i, p in enumerate(pairs)))
    for i, (total, difference) in enumerate(results):
        np.testing.assert_array_equal(total, np.full(4, i + 1))
        np.testing.assert_array_equal(difference, np.full(4, i - 1))
    results = list(model.async_map(torch.from_numpy(x) for x in images(2)))
    assert all(isinstance(r, torch.Tensor) for r in results)
    assert list(model.async_map([])) == []


def test_a_module_is_captured_for_each_new_shape():
    model = torch.compile(nn.Linear(4, 3).eval())
    items = [np.ones((1 + i % 3, 4), np.float32) for i in range(8)]
    for x, y in zip(items, model.async_map(items, streams=2)):
        np.testing.assert_array_equal(bits(y), bits(model(x)))


def test_few_items_are_in_flight(model):
    read = []

    def source():
        for i, x in enumerate(images(12)):
            read.append(i)
            yield x

    for taken, _ in enumerate(model.async_map(source(), streams=2), 1):
        assert len(read) - taken <= 4
    assert len(read) == 12


def test_an_error_names_the_item_and_comes_in_its_turn(model):
    items = images(6)
    items[4] = np.ones((1, 2, 64, 64), np.float32)
    results = []
    with pytest.raises(torch.ValueError, match=r"^item 4: input 'x': expected size 3 in dimension 1"):
        for y in model.async_map(items, streams=2):
            results.append(y)
    assert len(results) == 4
    items[1] = "no array"
    with pytest.raises(torch.TypeError, match="^item 1: "):
        list(model.async_map(items, streams=2))
    np.testing.assert_array_equal(bits(model(items[0])), bits(results[0]))  # the model goes on


def test_an_error_of_the_source_follows_the_results_before_it(model):
    def source():
        yield from images(3)
        raise LookupError("the disk is gone")

    results = []
    with pytest.raises(LookupError, match="the disk is gone"):
        for y in model.async_map(source()):
            results.append(y)
    assert len(results) == 3


def test_closing_stops_reading(model):
    read = []
    stopped = []

    def source():
        try:
            for i, x in enumerate(images(40)):
                read.append(i)
                yield x
        finally:
            stopped.append(True)

    results = model.async_map(source(), streams=2)
    next(results)
    results.close()
    assert len(read) <= 4
    del results
    gc.collect()
    assert stopped
    with pytest.raises(StopIteration):
        next(model.async_map([]))


def test_maps_and_plain_calls_run_at_once(model):
    items = images(6)
    expected = [model(x) for x in items]
    errors = []

    def work(i):
        try:
            found = list(model.async_map(items, streams=2)) if i % 2 else [model(x) for x in items]
            for got, want in zip(found, expected):
                np.testing.assert_array_equal(bits(got), bits(want))
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors


@pytest.mark.parametrize("streams", [0, -2])
def test_streams_must_be_positive(model, streams):
    with pytest.raises(torch.ValueError, match="streams must be positive"):
        model.async_map(images(1), streams=streams)


def test_the_source_must_be_iterable(model):
    with pytest.raises(torch.TypeError, match="expected an iterable"):
        model.async_map(3)
