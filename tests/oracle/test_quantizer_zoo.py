"""Every built-in quantizer on every model of the zoo: what PyTorch annotates, we annotate.

Annotated operators with all their specs, the observers (names, places, classes, sharing groups), the
order of operators and, after calibration with the same numbers, scales and zero points are equal.
Where pt2q deliberately does more (docs/supersets.md), a rule below says so; any other difference
fails.
"""

from __future__ import annotations

import functools
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peer
import pytest
import torch
from quantizers import SETUPS
from zoo import ZOO


pytestmark = pytest.mark.filterwarnings("ignore")
DOC = Path(__file__).parents[2] / "docs" / "supersets.md"

# PyTorch searches each convolution + batch norm pattern by subgraph matching: seconds per model.
FEW_MODELS = {"xnnpack qat": ("vgg", "mnist", "unet", "residual_mlp")}
# Statistics are the same for these as for the setups that calibrate all models.
CALIBRATED_MODELS = dict.fromkeys(
    ("xpu", "arm", "xnnpack per tensor", "composable"),
    ("mobilenet_v2", "squeezenet", "conv_activations", "mlp_activations", "attention", "dlrm", "yolo"),
)
CASES = [(s, m) for s in SETUPS for m in FEW_MODELS.get(s, ZOO)]


@dataclass(frozen=True)
class Superset:
    """Operators that only pt2q annotates, or annotates differently, under some quantizers."""

    row: str  # the first words of its row in docs/supersets.md
    setups: tuple[str, ...]
    operators: tuple[str, ...]
    example: tuple[str, str]  # a case that needs the rule
    changed: bool = False  # PyTorch annotates these, too, but with other specs


INDUCTOR = ("x86", "x86 reduced range", "x86 dynamic", "x86 float16", "x86 qat", "x86 dynamic qat", "xpu", "arm")
INDUCTOR += ("arm dynamic", "arm qat", "composable", "x86 by name")
XNNPACK = ("xnnpack per tensor", "xnnpack per channel", "xnnpack qat", "composable")
RULES = (
    Superset("activation behind conv/linear", INDUCTOR, ("tanh",), ("x86", "bert")),
    Superset("operators that hand data on", XNNPACK, ("dropout", "dropout_", "transpose", "reshape"), ("xnnpack per channel", "vit")),
    Superset("transposed convolutions", (*XNNPACK, "xnnpack longer list"), ("conv_transpose2d",), ("xnnpack per channel", "dcgan")),
    Superset("transposed convolutions", (*XNNPACK, "xnnpack longer list"), ("conv_transpose2d",), ("xnnpack per channel", "dcgan"), changed=True),
    Superset("dynamic configuration", ("xnnpack dynamic",), ("conv2d", "conv_transpose2d"), ("xnnpack dynamic", "unet")),
)  # fmt: skip


@functools.cache
def pair(name: str) -> peer.Pair:
    return peer.capture(*ZOO[name](), strict=True)


@functools.cache
def prepared(setup_name: str, name: str) -> tuple[Any, Any]:
    """(ours, theirs): prepared, or only annotated where batch norms are still in the graph."""
    setup = SETUPS[setup_name]
    if not setup.qat:
        return peer.prepare(pair(name), setup.ours(), setup.theirs())
    theirs, ours = pair(name).fresh()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for quantizer, graph in ((setup.ours(), ours), (setup.theirs(), theirs)):
            quantizer.transform_for_annotation(graph)
            quantizer.annotate(graph)
    return ours, theirs


def base_name(node_name: str) -> str:
    """'conv2d' of conv2d_3; 'relu_' of relu__3."""
    head, _, tail = node_name.rpartition("_")
    return head if head and tail.isdigit() else node_name


def differences(setup: str, name: str) -> dict[str, bool]:
    """Operators annotated differently → whether PyTorch annotates them at all."""
    ours, theirs = (peer.annotations(m) for m in prepared(setup, name))
    return {k: k in theirs for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k)}


def unexplained(setup: str, name: str, rules: tuple[Superset, ...]) -> dict[str, Any]:
    """Differences no rule covers: neither directly nor as what hands a covered operator's data on."""
    ours, theirs = (peer.annotations(m) for m in prepared(setup, name))
    covered: set[str] = set()
    for node, in_both in sorted(differences(setup, name).items(), key=lambda item: list(ours).index(item[0]) if item[0] in ours else -1):
        direct = any(
            setup in r.setups and base_name(node) in r.operators and r.changed == in_both and node in ours
            for r in rules
        )
        inputs = [] if node not in ours else [i for i, spec in ours[node][0] if spec and spec[0] == "shared with"]
        if direct or (not in_both and any(i in covered for i in inputs)):
            covered.add(node)
    return {
        n: {"ours": ours.get(n), "theirs": theirs.get(n)} for n in differences(setup, name) if n not in covered
    }


@pytest.mark.parametrize(("setup", "name"), CASES)
def test_annotations_equal(setup: str, name: str) -> None:
    assert unexplained(setup, name, RULES) == {}


@pytest.mark.parametrize(("setup", "name"), [c for c in CASES if not SETUPS[c[0]].qat])
def test_observers_and_parameters_equal(setup: str, name: str) -> None:
    ours, theirs = prepared(setup, name)
    if differences(setup, name):
        return  # other observers on purpose: held by the rules above
    peer.assert_same_prepared(ours, theirs)
    if SETUPS[setup].static and name in CALIBRATED_MODELS.get(setup, ZOO):
        peer.calibrate(ours, theirs, [pair(name).inputs])
        count = peer.assert_same_parameters(ours, theirs)
        assert count == len(peer.instances(theirs))


@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{r.row}, changed={r.changed}")
def test_every_rule_is_needed_and_documented(rule: Superset) -> None:
    others = tuple(r for r in RULES if r is not rule)
    assert unexplained(*rule.example, others)
    rows = [line for line in DOC.read_text().splitlines() if line.startswith(f"| {rule.row}")]
    assert len(rows) == 1
    assert all(cell.strip() for cell in rows[0].strip("|").split("|"))


def test_most_cases_agree_without_any_rule() -> None:
    """The rules are exceptions: 25 models and more agree under each quantizer of torchao itself."""
    for setup in ("x86", "x86 dynamic", "x86 qat", "xpu", "arm", "embedding"):
        assert sum(not differences(setup, name) for name in ZOO) >= 25, setup


# --- programs exported elsewhere -------------------------------------------------------------------

SHARED = Path(os.environ.get("PT2Q_SHARED", Path(__file__).resolve().parents[3] / "shared"))
OPEN = sorted((SHARED / "coverage" / "open").glob("*.pt2"))


@pytest.mark.skipif(not OPEN, reason=f"{SHARED}/coverage/open is absent: no open models to annotate")
@pytest.mark.parametrize("path", OPEN, ids=lambda p: p.stem)
def test_open_programs_are_annotated_at_least_as_in_pytorch(path: Path) -> None:
    """Files of non-strict captures lack source functions, so that PyTorch's X86 quantizer misses
    functional activations; whatever it does annotate is annotated equally here."""
    loaded = peer.Pair(torch.export.load(path).module(), path.read_bytes(), ())
    try:
        ours, theirs = peer.prepare(loaded, SETUPS["x86"].ours(), SETUPS["x86"].theirs())
    except ValueError as e:  # a module called several times: annotated here alone (docs/supersets.md)
        assert "Input partition has more than one output node" in str(e)
        quantizer = SETUPS["x86"].ours()
        ours = quantizer.annotate(loaded.fresh()[1])
        convolutions = [n.name for n in ours.graph.nodes if "aten.conv" in str(n.target) or "linear" in str(n.target)]
        assert convolutions and peer.annotations(ours).keys() >= set(convolutions)
        return
    mine, wanted = peer.annotations(ours), peer.annotations(theirs)
    assert {k: mine.get(k) for k in wanted} == wanted
