"""The source documents' own code runs with only its imports renamed."""

from __future__ import annotations

import pathlib
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


def run_blocks(number: str, blocks: list[str], namespace: dict) -> None:
    with warnings.catch_warnings():  # document 002 sets filters of its own
        for i, block in enumerate(blocks):
            code = compile(documents.rename_imports(block), f"<document {number}, block {i}>", "exec")
            exec(code, namespace)


def write_random_weights(path: pathlib.Path) -> None:
    """A PyTorch checkpoint file with random weights in place of the documents' download."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pt2q.manual_seed(0)
    pt2q.save(pt2q.vision.models.resnet18().state_dict(), path)


def test_document_001(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    write_random_weights(tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth")
    blocks = documents.code_blocks(documents.document("001"))
    # Two blocks are no Python: the architecture drawing and a shell command line.
    python = [b for b in blocks if "-----" not in b and not b.startswith("TORCHINDUCTOR_FREEZING")]
    assert len(blocks) == len(python) + 2
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
    blocks = documents.code_blocks(documents.document("002"))
    # No Python: the architecture drawing, and the printed output shown near the end.
    python = [b for b in blocks if "-----" not in b and not b.startswith("[before serialization]")]
    assert len(blocks) == len(python) + 2
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
