"""export.load(mmap=True): weights stay in the file."""

import io

import numpy as np
import pytest

import pt2q as torch
from pt2q import nn


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 8)).eval()
    x = torch.randn(3, 64)
    torch.export.save(torch.export.export(net, (x,)), tmp_path / "m.pt2")
    return tmp_path / "m.pt2", x


def test_results_are_the_same(saved):
    path, x = saved
    copied, mapped = torch.export.load(path).module(), torch.export.load(path, mmap=True).module()
    for a, b in ((copied, mapped), (torch.compile(copied), torch.compile(mapped))):
        assert a(x).numpy().tobytes() == b(x).numpy().tobytes()


def test_weights_are_read_only_and_other_weights_may_be_loaded(saved):
    path, x = saved
    mapped = torch.export.load(path, mmap=True).module()
    weight = dict(mapped.named_parameters())["0.weight"]
    with pytest.raises((torch.ValueError, ValueError), match="read-only"):
        weight[0, 0] = 1.0
    assert not np.asarray(weight).flags.writeable
    state = {name: t.clone() for name, t in mapped.state_dict().items()}
    state["2.bias"] += 1.0
    before = mapped(x).numpy()
    mapped.load_state_dict(state)
    np.testing.assert_allclose(mapped(x).numpy(), before + 1, rtol=1e-5)


def test_the_file_may_be_replaced_or_be_an_object(saved):
    path, x = saved
    mapped = torch.export.load(path, mmap=True).module()
    expected = mapped(x).numpy()
    other = nn.Linear(64, 8).eval()
    torch.export.save(torch.export.export(other, (x,)), path)
    np.testing.assert_array_equal(mapped(x).numpy(), expected)
    from_bytes = torch.export.load(io.BytesIO(path.read_bytes()), mmap=True).module()
    assert from_bytes(x).numpy().tobytes() == torch.export.load(path).module()(x).numpy().tobytes()
