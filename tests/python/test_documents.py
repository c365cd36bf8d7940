"""The source documents' own code runs with only its imports renamed."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import re
import textwrap
import warnings

import documents
import numpy as np
import pytest

import pt2q

pytestmark = pytest.mark.skipif(
    not (documents.SHARED / "seeds").is_dir(),
    reason=f"NO SOURCE DOCUMENTS: {documents.SHARED}/seeds is absent, so the tutorials were not run",
)


PAGE = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "documents.md").read_text(encoding="utf-8")
# (document, block): what it begins with, status; one row per code block.
ROWS = {
    (number, int(block)): (start, status)
    for number, block, start, status in re.findall(r"^\| (\d{3}) \| (\d+) \| `(.*)` \| (.*) \|$", PAGE, re.MULTILINE)
}
TABLE: dict[tuple[str, int], str] = {}  # (document, block): status; conftest.py shows it


def python_blocks(number: str) -> list[str]:
    """The blocks that the page does not call "no Python"."""
    blocks = documents.code_blocks(documents.document(number))
    return [b for i, b in enumerate(blocks) if not ROWS[number, i][1].startswith("no Python: ")]


def run_blocks(number: str, blocks: list[str], namespace: dict, first: int = 0) -> None:
    positions = [i for (n, i), (_, status) in ROWS.items() if n == number and not status.startswith("no Python: ")]
    with warnings.catch_warnings():  # document 002 sets filters of its own
        for i, block in zip(positions[first:], blocks):
            TABLE[number, i] = "failed"
            code = compile(documents.rename_imports(block), f"<document {number}, block {i}>", "exec")
            exec(code, namespace)
            TABLE[number, i] = "runs"


NUMBERS = ("000", "001", "002", "003", "004")


@pytest.mark.parametrize("number", NUMBERS)
def test_the_page_lists_every_block(number):
    blocks = documents.code_blocks(documents.document(number))
    rows = {i: row for (n, i), row in ROWS.items() if n == number}
    assert sorted(rows) == list(range(len(blocks)))
    for i, block in enumerate(blocks):
        start, status = rows[i]
        assert block.split("\n")[0].strip().startswith(start.removesuffix("…")), i
        assert status.startswith(("runs", "no Python: ")), i
        if status.startswith("no Python: "):  # really: neither as it is nor as part of a statement
            with pytest.raises(SyntaxError):
                compile(block, "<block>", "exec")


def write_random_weights(path: pathlib.Path) -> None:
    """A PyTorch checkpoint file with random weights in place of the documents' download."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pt2q.manual_seed(0)
    pt2q.save(pt2q.vision.models.resnet18().state_dict(), path)


def test_document_001(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    write_random_weights(tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth")
    python = python_blocks("001")
    # This copy of the document has lost its indentation: the body of its one `with` statement, which
    # runs to the end of the block, stands at the left margin.
    head, body = python[0].split("with torch.no_grad():\n")
    python[0] = head + "with torch.no_grad():\n" + textwrap.indent(body, "    ")
    namespace: dict = {}
    run_blocks("001", python, namespace)
    result = namespace["optimized_model"](*namespace["example_inputs"])
    reference = namespace["converted_model"](*namespace["example_inputs"])
    assert tuple(result.shape) == (50, 1000)
    error = np.linalg.norm(result.numpy() - reference.numpy()) / np.linalg.norm(reference.numpy())
    assert error < 0.05  # int8 kernels against the q/dq graph: rounding steps only
    targets = [str(n.target) for n in namespace["converted_model"].graph.nodes]
    assert any("quantize_per_tensor" in t for t in targets)


def write_images(root: pathlib.Path) -> None:
    """Ten classes of random images in ImageNet's folder layout: 40 for training, 100 for validation."""
    image = pytest.importorskip("PIL.Image", reason="NO PILLOW: document 002 was not run")
    rng = np.random.default_rng(0)
    for split, per_class in (("train", 4), ("val", 10)):
        for c in range(10):
            folder = root / split / f"n{c:08d}"
            folder.mkdir(parents=True)
            for i in range(per_class):
                pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
                image.fromarray(pixels).resize((320, 260)).save(folder / f"{i}.JPEG")


def test_document_002(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / ".data" / "imagenet")
    write_random_weights(tmp_path / "data" / "resnet18_pretrained_float.pth")
    python = python_blocks("002")
    chained = next(i for i, b in enumerate(python) if ".set_object_type(" in b)
    # The document's error: a call chain over several lines needs parentheses, and it never defines
    # qconfig_opt ("an optional quantization config").
    assert python[chained].startswith("quantizer.set_global(qconfig_opt)")
    with pytest.raises(SyntaxError):
        compile(python[chained], "<document 002>", "exec")
    python[chained] = f"qconfig_opt = get_symmetric_quantization_config()\n({python[chained]}\n)"
    namespace: dict = {}
    run_blocks("002", python, namespace)
    printed = capsys.readouterr().out
    assert printed.count("Size (MB):") == 2
    float_size, int8_size = (float(line.split(":")[1]) for line in printed.splitlines() if "Size (MB)" in line)
    assert int8_size < 0.3 * float_size  # re-export drops the float weights
    assert np.array_equal(namespace["ref"].numpy(), namespace["res"].numpy())
    assert "[after serialization/deserialization] Evaluation accuracy" in printed


def relative_error(got, want) -> float:
    a, b = got.numpy(), want.numpy()
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def test_document_003(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = documents.document("003")
    blocks = documents.code_blocks(text)
    # The document's error: "range(2))" closes a list with a parenthesis.
    with pytest.raises(SyntaxError):
        compile(blocks[0], "<document 003>", "exec")
    blocks[0] = blocks[0].replace("range(2))", "range(2)]").replace("range(20))", "range(20)]")
    # It never defines example_input.
    blocks[3] = "example_input = xx_c[0]\n" + blocks[3]
    namespace: dict = {}
    pt2q.manual_seed(0)
    run_blocks("003", blocks[:3], namespace)
    shown = json.loads(text.split("```json")[1].split("```")[0])
    written = json.loads((tmp_path / "configure.json").read_text())
    assert [list(entry) for entry in written] == [list(entry) for entry in shown]  # members, in order
    for mine, theirs in zip(written, shown):
        for key in theirs:
            if "scales" not in key and "zero_points" not in key:
                assert mine[key] == theirs[key], key
            assert np.shape(mine[key]) == np.shape(theirs[key]), key
    run_blocks("003", blocks[3:], namespace, first=3)
    model, converted, x = namespace["model"], namespace["trace_model"], namespace["xx_v"][0]
    assert relative_error(converted(x), model(x)) < 0.02
    assert np.array_equal(namespace["loaded"](x).numpy(), converted(x).numpy())
    text = converted.graph_for(x)
    for stage in ("alias and mutation reduction", "graph passing", "partitioning", "graph rewriting",
                  "layout propagation", "pt2q.qconv"):  # fmt: skip
        assert stage in text, stage
    for size in (5, 28, 41):  # "Support for dynamic shapes" is its limitation, not ours
        y = pt2q.randn(3, 10, size, size + 2)
        assert relative_error(converted(y), model(y)) < 0.03


class Model(pt2q.nn.Module):
    """What document 004 leaves to the reader."""

    def __init__(self):
        super().__init__()
        self.conv = pt2q.nn.Conv2d(3, 16, 3, padding=1)
        self.relu = pt2q.nn.ReLU()
        self.fc = pt2q.nn.Linear(16, 10)

    def forward(self, x):
        return self.fc(self.relu(self.conv(x)).mean([2, 3]))


def check_document_004(namespace: dict, data: list) -> None:
    eager, compiled = namespace["modelImpe"], namespace["modelJit"]
    assert type(eager.module.conv).__name__ == "Conv2d"
    assert "QuantizedConv2d(3, 16" in repr(eager)
    for x in (data[1], pt2q.randn(2, 3, 24, 20)):
        want = namespace["model"](x)
        assert relative_error(compiled(x), want) < 0.05
        assert tuple(eager(x).shape) == tuple(want.shape)


@pytest.mark.parametrize("dtype", ["quint8", "qint8"])
def test_document_004(dtype, capsys):
    imperative, script = documents.code_blocks(documents.document("004"))
    pt2q.manual_seed(0)
    data = [pt2q.randn(4, 3, 16, 16) for _ in range(4)]
    namespace = {
        "Model": Model,
        "calib_dataset": data,
        "inference_data": data[0],
        # The second block leaves these open; "inference_dta" is its spelling.
        "example_input": data[0],
        "qscheme": pt2q.per_tensor_symmetric,
        "dtype": getattr(pt2q, dtype),
        "warmup_data": data[0],
        "inference_dta": data[0],
    }
    with pt2q.xpu.allow_cpu_fallback():
        run_blocks("004", [imperative, script], namespace)
        check_document_004(namespace, data)
    printed = capsys.readouterr().out
    assert "conv_relu (conv_unary)" in printed  # graph_for names the fusion


def test_document_000(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    write_random_weights(tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth")
    python = python_blocks("000")
    autocast = next(i for i, b in enumerate(python) if "amp.autocast" in b)
    assert autocast == len(python) - 1
    namespace: dict = {}
    with pt2q.xpu.allow_cpu_fallback():
        run_blocks("000", python[:autocast], namespace)
        converted, (x,) = namespace["converted_model"], namespace["example_inputs"]
        result = namespace["optimized_model"](x)
        assert result.device.type == "xpu" and tuple(result.shape) == (50, 1000)
        # The symmetric configuration is the document's own.
        specs = [n for n in converted.graph.nodes if "quantize_per_tensor" in str(n.target)]
        assert specs and all(n.args[2] == 0 and n.args[5] is pt2q.int8 for n in specs)
        run_blocks("000", python[autocast:], namespace, first=autocast)
        with pt2q.amp.autocast(device_type="xpu", dtype=pt2q.bfloat16):
            mixed = namespace["optimized_model"](x).cpu()
        steps = namespace["optimized_model"].steps(x)
        pt2q.export.save(pt2q.export.export(converted, (x,)), tmp_path / "m.pt2")
    if not pt2q.xpu.is_available():  # what is loaded lives on the CPU: the same numbers
        on_cpu = pt2q.compile(pt2q.export.load(tmp_path / "m.pt2").module())(x.numpy())
        assert np.array_equal(result.numpy(), on_cpu)
    assert mixed.dtype is pt2q.bfloat16
    error = np.linalg.norm(mixed.float().numpy() - result.numpy()) / np.linalg.norm(result.numpy())
    assert error < 0.02
    layers = [s["dtype"] for s in steps if "qconv" in s["op"] or "qlinear" in s["op"]]
    assert len(layers) == 21 and all(d.startswith("int8 -> ") for d in layers)
    # int8 where a quantize follows; the stem (in front of a float pool) and the last layer give bfloat16.
    assert layers[0] == layers[-1] == "int8 -> bfloat16" and set(layers[1:-1]) == {"int8 -> int8"}


def test_the_page_says_what_ran():
    """The last test of this file: what the others ran has the status that the page states."""
    expected = set(NUMBERS)
    if importlib.util.find_spec("PIL") is None:
        expected.remove("002")  # skipped, and says so
    assert {number for number, _ in TABLE} == expected, "run the whole file: this test looks at what the others ran"
    for number in expected:
        ran = {i: status for (n, i), status in TABLE.items() if n == number}
        stated = {i: status.split(";")[0] for (n, i), (_, status) in ROWS.items() if n == number}
        assert ran == {i: status for i, status in stated.items() if status == "runs"}, number
