"""What a run may depend on: not the number of threads, not the batch split, not other callers."""

import threading
import time

import numpy as np
import pytest

import pt2q as torch
from pt2q import nn
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)
from pt2q.vision import models


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3 * 32 * 32, 40)
        self.b = nn.Linear(40, 10)

    def forward(self, x):
        return self.b(nn.functional.gelu(self.a(torch.flatten(x, 1))))


class Branches(nn.Module):
    """Concatenation, pooling, depthwise and grouped convolutions."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 7, stride=2, padding=3)
        self.left = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.right = nn.Conv2d(16, 24, 3, padding=1, groups=4)
        self.head = nn.Linear(40, 7)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.stem(x)), 2)
        x = torch.cat([nn.functional.hardtanh(self.left(x)), torch.relu(self.right(x))], 1)
        return self.head(torch.flatten(nn.functional.adaptive_avg_pool2d(x, (1, 1)), 1))


NETS = {
    "mlp": (Mlp, 32),
    "branches": (Branches, 32),
    "resnet18": (models.resnet18, 64),
    "mobilenet_v2": (models.mobilenet_v2, 64),
    "squeezenet1_1": (models.squeezenet1_1, 64),
}


def images(batch, size, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, 3, size, size)).astype(np.float32)


@pytest.fixture(scope="module", params=NETS)
def int8(request):
    """(compiled int8 model, image size)"""
    make, size = NETS[request.param]
    torch.manual_seed(1)
    example = (torch.from_numpy(images(2, size)),)
    shapes = ({0: torch.export.Dim("batch")},)
    captured = torch.export.export(make().eval(), example, dynamic_shapes=shapes).module()
    quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(captured, quantizer)
    prepared(images(4, size))
    return torch.compile(convert_pt2e(prepared)), size


@pytest.fixture
def threads():
    """Restores the number of threads."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def bits(array):
    return np.ascontiguousarray(array).view(np.uint8)


def test_thread_count_does_not_change_a_bit(int8, threads):
    model, size = int8
    for batch in (1, 3, 8):
        x = images(batch, size)
        results = []
        for n in (1, 2, 3):
            threads(n)
            results.append(model(x))
        for other in results[1:]:
            np.testing.assert_array_equal(bits(other), bits(results[0]))


def test_batch_split_does_not_change_a_bit(int8):
    model, size = int8
    x = images(8, size)
    whole = model(x)
    single = np.concatenate([model(x[i : i + 1]) for i in range(8)])
    np.testing.assert_array_equal(bits(single), bits(whole))
    uneven = np.concatenate([model(x[:3]), model(x[3:])])
    np.testing.assert_array_equal(bits(uneven), bits(whole))


def call_from_threads(count, work):
    """Runs work(i) in `count` threads that start together; errors are raised here."""
    errors = []
    gate = threading.Barrier(count)

    def body(i):
        try:
            gate.wait()
            work(i)
        except BaseException as e:
            errors.append(e)

    pool = [threading.Thread(target=body, args=(i,)) for i in range(count)]
    for t in pool:
        t.start()
    for t in pool:
        t.join()
    if errors:
        raise errors[0]


def test_many_threads_call_one_model(int8):
    model, size = int8
    inputs = [images(1 + i % 3, size, seed=i) for i in range(6)]
    expected = [model(x) for x in inputs]

    def work(i):
        for k in range(6):  # the same shapes and others, in different orders
            j = (i + k) % len(inputs)
            np.testing.assert_array_equal(bits(model(inputs[j])), bits(expected[j]))

    call_from_threads(6, work)


def test_first_calls_may_come_together():
    torch.manual_seed(0)
    x = images(2, 32)
    expected = torch.compile(torch.export.export(Branches().eval(), (torch.from_numpy(x),)).module())(x)
    torch.manual_seed(0)
    model = torch.compile(Branches().eval())  # captured, lowered and planned by whoever comes first
    results = [None] * 4

    def work(i):
        results[i] = model(x)

    call_from_threads(4, work)
    for result in results:
        np.testing.assert_array_equal(bits(result), bits(expected))


def test_other_python_threads_run_meanwhile():
    """The interpreter lock is released while a model runs: another thread gets on with its work."""
    conv = nn.Conv2d(64, 64, 3, padding=1).eval()
    x = np.ones((8, 64, 112, 112), np.float32)
    model = torch.compile(torch.export.export(conv, (torch.from_numpy(x),)).module())
    model(x)
    running, stop, steps = threading.Event(), threading.Event(), []

    def count():
        running.set()
        while not stop.is_set():
            steps.append(time.perf_counter())
            time.sleep(0)

    other = threading.Thread(target=count)
    other.start()
    running.wait()
    begin = time.perf_counter()
    model(x)
    end = time.perf_counter()
    stop.set()
    other.join()
    assert sum(begin < t < end for t in steps) > 0


def test_plans_are_dropped_in_turn_and_stay_right():
    """More shapes than the cache of plans holds, twice over."""
    torch.manual_seed(0)
    net = Branches().eval()
    shapes = ({0: torch.export.Dim("batch"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")},)
    captured = torch.export.export(net, (torch.from_numpy(images(2, 32)),), dynamic_shapes=shapes).module()
    model = torch.compile(captured)
    inputs = [np.random.default_rng(i).normal(size=(1 + i % 2, 3, 24 + i, 30)).astype(np.float32) for i in range(40)]
    first = [model(x) for x in inputs]
    for x, y in zip(inputs, first, strict=True):
        np.testing.assert_array_equal(bits(model(x)), bits(y))
        np.testing.assert_allclose(y, captured(x), rtol=1e-4, atol=1e-5)


def test_an_exported_program_compiles_as_its_module_does():
    x = np.random.default_rng(7).standard_normal((2, 3, 32, 32)).astype(np.float32)
    program = torch.export.export(Branches().eval(), (torch.from_numpy(x),))
    np.testing.assert_array_equal(torch.compile(program)(x), torch.compile(program.module())(x))
