"""Training of a prepared model in PyTorch: gradients equal torchao's, state comes back, the trained
model converts and compiles here as accurately as PyTorch's own."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from bridge import assert_same
from qat_nets import DigitsNet, Nested, TwoConvs, seeded
from qat_pairs import assert_same_states, prepared_pair
from torch import nn
from torchao.quantization.pt2e import quantize_pt2e as torch_flow
from torchao.quantization.pt2e.export_utils import _move_exported_model_to_eval

import pt2q
from pt2q.ao.quantization import quantize_pt2e
from pt2q.ao.quantization.quantizer import x86_inductor_quantizer
from pt2q.interop import torch as bridge

warnings.filterwarnings("ignore")
DIGITS = pathlib.Path(__file__).parents[2] / "examples" / "demo" / "digits.npz"


def digits():
    data = np.load(DIGITS)
    images = data["images"].astype(np.float32).reshape(-1, 1, 8, 8)
    images /= images.max()
    test = data["is_test"].astype(bool)
    labels = data["labels"].astype(np.int64)
    return [torch.from_numpy(a) for a in (images[~test], labels[~test], images[test], labels[test])]


def train(module: nn.Module, images, labels, steps: int) -> list[float]:
    torch.manual_seed(7)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for _ in range(steps):
        i = torch.randint(len(images), (32,))
        loss = nn.functional.cross_entropy(module(images[i]), labels[i])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def accuracy(model, images, labels) -> float:
    out = [np.asarray(model(batch)) for batch in images.numpy()[: len(images) // 32 * 32].reshape(-1, 32, 1, 8, 8)]
    return float((np.concatenate(out).argmax(1) == labels.numpy()[: len(out) * 32]).mean())


def test_gradients_equal_the_peers():
    theirs, ours, x = prepared_pair(seeded("residual block"), "x86")
    module = bridge.to_torch(ours)
    for model in (theirs, module):
        model(x)  # every fake-quantize has a range
        model(x).square().sum().backward()
    want = dict(theirs.named_parameters())
    got = dict(module.named_parameters())
    assert got.keys() == want.keys()
    for name, parameter in want.items():
        torch.testing.assert_close(got[name].grad, parameter.grad, rtol=1e-6, atol=1e-6, msg=name)


def test_state_goes_there_and_comes_back():
    _, ours, x = prepared_pair(TwoConvs(), "x86")
    ours(x.numpy())
    before = {k: pt2q.tensor(v.numpy()) for k, v in ours.state_dict().items()}
    module = bridge.to_torch(ours)
    copy = bridge.from_torch(module)
    assert copy.state_dict().keys() == before.keys()
    for key, value in before.items():
        np.testing.assert_array_equal(copy.state_dict()[key].numpy(), value.numpy(), err_msg=key)
    with torch.no_grad():
        module.get_parameter("fc.bias").fill_(5)
    module(x)
    bridge.load_back(ours, module)
    assert ours.state_dict()["fc.bias"].numpy().tolist() == [5, 5, 5]
    assert ours.state_dict()["bn1.num_batches_tracked"].item() == 1
    assert copy.state_dict()["fc.bias"].numpy().tolist() != [5, 5, 5]
    for key, value in module.state_dict().items():
        assert_same(ours.state_dict()[key], value)


def test_one_observer_used_twice_stays_one():
    _, ours, x = prepared_pair(seeded("residual block"), "x86")
    module = bridge.to_torch(ours)
    mine = [id(m) for _, m in ours.named_children()]
    theirs = [id(module.get_submodule(name)) for name, _ in ours.named_children()]
    assert [mine.index(i) for i in mine] == [theirs.index(i) for i in theirs]


def test_train_and_eval_switch_batch_norm_and_dropout():
    _, ours, x = prepared_pair(DigitsNet(), "x86")
    module = bridge.to_torch(ours)
    flags = lambda: [n.args[5] for n in module.graph.nodes if "batch_norm" in n.name]  # noqa: E731
    assert module.training and flags() == [True, True]
    module.eval()
    assert flags() == [False, False]
    before = {k: v.clone() for k, v in module.state_dict().items() if "bn" in k}
    module.apply(torch.ao.quantization.disable_observer)
    assert torch.equal(module(x), module(x))
    assert all(torch.equal(v, module.state_dict()[k]) for k, v in before.items())
    module.train()
    module.freeze_batch_norm()
    assert module.training and flags() == [False, False]
    module.train()
    assert flags() == [True, True]


def test_digits_trained_in_torch_convert_and_compile_here():
    images, labels, test_images, test_labels = digits()
    torch.manual_seed(0)
    theirs, ours, _ = prepared_pair(DigitsNet(), "x86")
    module = bridge.to_torch(ours)
    losses = train(module, images, labels, steps=60)
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])
    other = bridge.to_torch(ours)
    assert train(theirs, images, labels, steps=4) == train(other, images, labels, steps=4) == losses[:4]
    assert_same_states(other, theirs)

    module.eval()
    theirs.load_state_dict(module.state_dict())  # the names are the peer's
    converted = quantize_pt2e.convert_pt2e(bridge.load_back(ours, module))
    compiled = pt2q.compile(converted, strict=True)
    peer = _move_exported_model_to_eval(torch_flow.convert_pt2e(theirs))
    want = accuracy(lambda x: peer(torch.from_numpy(x)).detach().numpy(), test_images, test_labels)
    got = accuracy(compiled, test_images, test_labels)
    assert want > 0.85
    assert abs(got - want) <= 0.01  # a few images of 360 lie on a boundary


def test_fake_quants_of_post_training_quantization_and_plain_observers():
    torch.manual_seed(1)
    x = torch.randn(4, 1, 8, 8)
    program = bridge.from_exported(torch.export.export(DigitsNet().eval(), (x,)))
    quantizer = x86_inductor_quantizer.X86InductorQuantizer().set_global(
        x86_inductor_quantizer.get_default_x86_inductor_quantization_config()
    )
    prepared = quantize_pt2e.prepare_pt2e(program.module(), quantizer)
    module = bridge.to_torch(prepared)
    module(x)
    prepared(x.numpy())
    for key, value in module.state_dict().items():
        np.testing.assert_allclose(
            prepared.state_dict()[key].numpy(), value.numpy(), rtol=1e-4, atol=1e-5, err_msg=key
        )


def test_programs_cross_without_files():
    x = torch.randn(2, 1, 8, 8)
    net = DigitsNet().eval()
    program = bridge.from_exported(torch.export.export(net, (x,)))
    np.testing.assert_allclose(
        program.module()(x.numpy()), net(x).detach().numpy(), rtol=1e-4, atol=1e-5
    )
    quantizer = x86_inductor_quantizer.X86InductorQuantizer().set_global(
        x86_inductor_quantizer.get_default_x86_inductor_quantization_config()
    )
    prepared = quantize_pt2e.prepare_pt2e(program.module(), quantizer)
    prepared(x.numpy())
    converted = quantize_pt2e.convert_pt2e(prepared)
    want = converted(x.numpy())
    as_module = bridge.to_torch(converted)
    np.testing.assert_allclose(as_module(x).detach().numpy(), want, atol=1e-4)
    back = bridge.to_exported(converted)
    assert isinstance(back, torch.export.ExportedProgram)
    np.testing.assert_allclose(back.module()(x).detach().numpy(), want, atol=1e-4)


def test_nested_inputs_and_outputs():
    a, b, scale = torch.ones(2), torch.arange(2.0), torch.tensor([3.0, 4.0])
    program = bridge.from_exported(torch.export.export(Nested(), ((a, b),), {"scale": scale}))
    module = bridge.to_torch(program)
    out = module((a, b), scale=scale)
    assert out["sum"].tolist() == [3.0, 8.0] and torch.equal(out["parts"][1], b)


def test_bad_input_is_named():
    with pytest.raises(TypeError, match="expected a torch.export.ExportedProgram, got Linear"):
        bridge.from_exported(nn.Linear(1, 1))
    with pytest.raises(TypeError, match="expected a captured, prepared or converted pt2q model"):
        bridge.to_torch(nn.Linear(1, 1))
    with pytest.raises(TypeError, match="made by to_torch, got Linear"):
        bridge.from_torch(nn.Linear(1, 1))
    _, ours, _ = prepared_pair(DigitsNet(), "x86")
    with pytest.raises(KeyError, match="missing keys .*conv1.weight"):
        bridge.load_back(ours, nn.Linear(1, 1))
    x = torch.randn(1, 1, 8, 8)
    program = bridge.from_exported(torch.export.export(DigitsNet().eval(), (x,)))
    with pytest.raises(NotImplementedError, match="not the compiled one"):
        bridge.to_torch(pt2q.compile(program.module()).graph_module)


def test_pt2q_imports_no_torch():
    code = "import sys, pt2q, pt2q.debug, pt2q.interop; pt2q.prepare_qat_pt2e; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "import sys; sys.modules['torch'] = None; import pt2q.interop.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pt2q.interop.torch needs PyTorch" in done.stderr and done.returncode != 0
