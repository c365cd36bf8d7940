"""Small networks and a short notation for converted graphs, shared by the test_peer_* files."""

from __future__ import annotations

import warnings

import pt2q
from pt2q import nn
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e


def exported(net, *inputs):
    return pt2q.export.export(net.eval(), inputs).module()


def flow(net, quantizer, *inputs):
    """(prepared, converted) after one calibration run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = prepare_pt2e(exported(net, *inputs), quantizer)
        prepared(*inputs)
        seen = Observed(prepared)
        return seen, convert_pt2e(prepared)


SHORT = {
    "quantize_per_tensor": "q",
    "dequantize_per_tensor": "dq",
    "quantize_per_channel": "wq",
    "dequantize_per_channel": "wdq",
    "choose_qparams": "choose",
}


def word(node):
    """'q' of quantize_per_tensor_default_3, 'conv2d' of conv2d_1."""
    base = str(node.target).split(".")[-2] if "." in str(node.target) else node.name
    return SHORT.get(base, base)


def spelled(model):
    """The operators of a graph in order, weights left out: 'q dq conv2d relu q dq max_pool2d q dq'."""
    calls = [n for n in model.graph.nodes if n.op == "call_function"]
    words = [word(n) for n in calls if not (n.args and getattr(n.args[0], "op", "") == "get_attr")]
    return " ".join(w for w in words if not w.startswith("getitem"))


def count(model, name):
    return sum(word(n) == name for n in model.graph.nodes if n.op == "call_function")


def counts(model):
    """(quantize, dequantize, dequantize of weights)."""
    return count(model, "q"), count(model, "dq"), count(model, "wdq")


class Observed:
    """Which observer sees what in a prepared model (kept from before convert changes it)."""

    def __init__(self, model):
        self.inputs = {}  # operator → observer (or None) of each tensor it reads
        self.outputs = {}  # operator → observer of its output
        for n in model.graph.nodes:
            if n.op == "call_function":
                self.inputs[n.name] = [self._of(model, i) for i in n.all_input_nodes]
                users = [u for u in n.users if u.op == "call_module"]
                self.outputs[n.name] = self._of(model, users[0]) if users else None

    @staticmethod
    def _of(model, node):
        return getattr(model, str(node.target)) if node.op == "call_module" else None


class Conv(nn.Module):
    """conv → any operators."""

    def __init__(self, *rest, bias=True):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=bias), *rest)

    def forward(self, x):
        return self.net(x)


class Fn(nn.Module):
    """Layers used by a function: Fn(lambda m, x: m.a(x) + m.b(x), a=…, b=…)."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *inputs):
        return self.function(self, *inputs)


def conv(i=3, o=3):
    return nn.Conv2d(i, o, 3, padding=1)


def image(channels=3, size=8):
    return pt2q.randn(2, channels, size, size)
