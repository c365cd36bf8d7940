"""Bad input: typed errors that name what, where and what to do, and nothing is lost."""

import os
import random
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest

import pt2q as torch
from pt2q import nn
from pt2q.ao.quantization.observer import MinMaxObserver, PerChannelMinMaxObserver
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4 * 36, 5)

    def forward(self, x):
        return self.fc(torch.flatten(torch.relu(self.conv(x)), 1))


def image(batch=2):
    return np.random.default_rng(batch).normal(size=(batch, 3, 8, 8)).astype(np.float32)


def program():
    torch.manual_seed(0)
    shapes = ({0: torch.export.Dim("batch")},)
    return torch.export.export(Net().eval(), (torch.from_numpy(image()),), dynamic_shapes=shapes)


def quantizer():
    return X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())


def prepared():
    return prepare_pt2e(program().module(), quantizer())


def converted():
    model = prepared()
    model(image(8))
    return convert_pt2e(model)


MODELS = {
    "captured": lambda: program().module(),
    "compiled": lambda: torch.compile(program().module()),
    "prepared": prepared,
    "converted": converted,
    "int8": lambda: torch.compile(converted()),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return MODELS[request.param]()


# --- what a model is called with ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((image().astype(np.float64),), TypeError, "input 'x': expected dtype float32, got float64"),
        ((image().astype(np.float16),), TypeError, "input 'x': expected dtype float32, got float16"),
        ((image()[0],), ValueError, "input 'x': expected 4 dimensions"),
        ((image()[:, :2],), ValueError, "input 'x': expected size 3 in dimension 1, got 2"),
        ((), TypeError, r"takes 1 input \(x\), got 0"),
        ((image(), image()), TypeError, r"takes 1 input \(x\), got 2"),
        ((None,), TypeError, "input 'x': expected a Tensor"),
        (([1, 2],), TypeError, "input 'x': expected a Tensor"),
        ((object(),), TypeError, "object"),
        ((image().astype(np.complex64),), TypeError, "complex64"),
        ((image().astype(object),), TypeError, "object"),
    ],
)
def test_wrong_inputs_are_named(model, arguments, error, message):
    with pytest.raises(torch.Error, match=message) as info:
        model(*arguments)
    assert isinstance(info.value, error) and not isinstance(info.value, torch.InternalError)
    assert model(image()).shape == (2, 5)  # nothing is left behind


def test_unknown_keyword(model):
    with pytest.raises(TypeError, match="'y'.*its inputs are"):
        model(image(), y=1)


@pytest.mark.parametrize("layout", ["transposed", "reversed", "read-only", "big-endian", "unaligned", "strided"])
def test_any_array_layout_works(model, layout):
    plain = image()
    if layout == "transposed":
        x = np.ascontiguousarray(plain.T).T
    elif layout == "reversed":
        x = np.ascontiguousarray(plain[:, :, ::-1])[:, :, ::-1]
    elif layout == "read-only":
        x = plain.copy()
        x.flags.writeable = False
    elif layout == "big-endian":
        x = plain.astype(">f4")
    elif layout == "unaligned":
        x = np.frombuffer(b"." + plain.tobytes(), np.uint8)[1:].view(np.float32).reshape(plain.shape)
    else:
        x = np.repeat(plain, 2, axis=3)[:, :, :, ::2]
    np.testing.assert_array_equal(model(x), model(plain))


def test_empty_batch(model):
    result = model(image()[:0])
    assert result.shape == (0, 5) and result.dtype == np.float32


@pytest.mark.parametrize("name", [name for name in MODELS if name != "prepared"])
def test_non_finite_inputs_run(name):
    model = MODELS[name]()
    for value in (np.nan, np.inf, -np.inf):
        assert model(np.full((2, 3, 8, 8), value, np.float32)).shape == (2, 5)


# --- calibration and conversion -------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_calibration_data_loses_nothing(value):
    model = prepared()
    model(image(8))
    bad = image()
    bad[0, 0, 0, 0] = value
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        if np.isnan(value):
            with pytest.raises(torch.RuntimeError, match="not finite") as info:
                model(bad)
            assert info.value.node.startswith("activation_post_process")
            assert "calibration data" in info.value.hint
        else:
            model(bad)
            assert any("inf" in str(w.message) for w in seen)  # PyTorch's warning; the batch is ignored
    assert np.isfinite(convert_pt2e(model)(image())).all()


@pytest.mark.parametrize("kind", [MinMaxObserver, PerChannelMinMaxObserver])
def test_ranges_that_are_not_finite(kind):
    observer = kind()
    observer(torch.from_numpy(np.full((2, 2), np.nan, np.float32)))
    with pytest.raises(torch.ValueError, match="NaN") as info:
        observer.calculate_qparams()
    assert "calibration data" in info.value.hint
    observer = kind()
    observer(torch.from_numpy(np.full((2, 2), np.inf, np.float32)))
    with pytest.warns(UserWarning, match="infinite"):
        observer.calculate_qparams()


def test_empty_calibration_batch_is_harmless():
    model, same = prepared(), prepared()
    for m in (model, same):
        m(image(8))
    model(image()[:0])
    np.testing.assert_array_equal(convert_pt2e(model)(image()), convert_pt2e(same)(image()))


def test_convert_before_calibration_warns_like_pytorch():
    model = prepared()
    with pytest.warns(UserWarning, match="must run observer before calling calculate_qparams"):
        result = convert_pt2e(model)
    assert result(image()).shape == (2, 5)


def test_prepare_twice():
    model = prepared()
    with pytest.raises(torch.ValueError, match="already prepared") as info:
        prepare_pt2e(model, quantizer())
    assert "convert_pt2e" in info.value.hint
    model(image())
    assert convert_pt2e(model)(image()).shape == (2, 5)


@pytest.mark.parametrize("make", [lambda: program().module(), converted])
def test_convert_without_prepare(make):
    with pytest.raises(torch.AssertionError, match="prepare_pt2e"):
        convert_pt2e(make())


def test_compile_of_a_prepared_model():
    with pytest.raises(torch.ValueError, match="observers") as info:
        torch.compile(prepared())
    assert "convert_pt2e" in info.value.hint


def test_calibration_without_data():
    with pytest.raises(torch.ValueError, match="empty"):
        torch.calibrate(prepared(), [], progress=False)


# --- Ctrl-C ---------------------------------------------------------------------------------------


def test_interrupted_calibration_keeps_its_statistics():
    interrupted, reference = prepared(), prepared()
    batches = [image(n) for n in (4, 5, 6, 7)]

    def stop_after_two(done, _samples):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        torch.calibrate(interrupted, batches, progress=stop_after_two)
    torch.calibrate(reference, batches[:2], progress=False)
    x = image()
    np.testing.assert_array_equal(convert_pt2e(interrupted)(x), convert_pt2e(reference)(x))


SIGNAL_SCRIPT = """
import itertools, signal, sys
import numpy as np
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
sys.path.insert(0, {folder!r})
import pt2q as torch
from test_bad_input import convert_pt2e, image, prepared
model = prepared()
count = 0
def progress(done, samples):
    global count
    count = done
    if done == 1:
        print("running", flush=True)
try:
    torch.calibrate(model, itertools.repeat(image(4)), progress=progress)
except KeyboardInterrupt:
    reference = prepared()
    torch.calibrate(reference, [image(4)] * count, progress=False)
    x = image()
    same = np.array_equal(convert_pt2e(model)(x), convert_pt2e(reference)(x))
    print("kept" if same and count > 0 else "lost", flush=True)
"""


def test_sigint_stops_calibration_between_batches():
    script = SIGNAL_SCRIPT.format(folder=os.path.dirname(__file__))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout.readline().strip() == "running"
            child.send_signal(signal.SIGINT)
            out, _ = child.communicate(timeout=60)
        finally:
            child.kill()  # calibration without end must not outlive a failed test
    assert out.strip() == "kept" and child.returncode == 0


# --- capture --------------------------------------------------------------------------------------


def test_an_operator_without_row_is_named_with_the_users_line():
    class Bad(nn.Module):
        def forward(self, x):
            return torch._core.call("aten.nope.default", x)

    with pytest.raises(torch.NotImplementedError, match="aten.nope.default"):
        torch.export.export(Bad().eval(), (torch.from_numpy(image()),))


@pytest.mark.parametrize(
    ("use", "operator"),
    [
        (lambda x: x if x.sum() > 0 else x + 1, "aten.gt.Scalar"),
        (lambda x: x * x.sum().item(), "aten.sum.default"),
        (lambda x: x[x > 0], "aten.index.Tensor"),
        (lambda x: [x for _ in range(int(x.max()))], "aten.max.default"),
    ],
)
def test_data_dependent_capture_names_operator_and_line(use, operator):
    class Bad(nn.Module):
        def forward(self, x):
            return use(x)

    with pytest.raises(torch.Error) as info:
        torch.export.export(Bad().eval(), (torch.from_numpy(image()),))
    text = str(info.value)
    assert operator in text and f'File "{__file__}", line ' in text and info.value.hint


# --- files ----------------------------------------------------------------------------------------

SMALL = {"weight": torch.from_numpy(np.arange(6, dtype=np.float32).reshape(2, 3)), "n": torch.from_numpy(np.array(3))}


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, x):
        return torch.relu(self.fc(x))


def write_file(kind, path):
    torch.manual_seed(1)
    if kind == "pt2":
        torch.export.save(torch.export.export(Tiny().eval(), (torch.randn(1, 2),)), path)
    else:
        torch.save(SMALL, path)  # .safetensors by its name


def read_file(kind, path):
    return torch.export.load(path) if kind == "pt2" else torch.load(path)


def expect_typed(kind, path, content):
    path.write_bytes(content)
    try:
        read_file(kind, path)
    except torch.InternalError as e:
        raise AssertionError(f"internal error: {e}") from e
    except torch.Error:
        return False
    return True


def test_tuples_that_load_would_refuse_are_not_saved(tmp_path):
    value = (None,)
    for _ in range(15):
        value = (value,)
    torch.save({"packed": value}, tmp_path / "m.pth")
    assert torch.load(tmp_path / "m.pth")["packed"] == value
    with pytest.raises(ValueError, match="'packed' holds tuples nested deeper than 16"):
        torch.save({"packed": (value,)}, tmp_path / "deeper.pth")
    assert not (tmp_path / "deeper.pth").exists()


@pytest.mark.parametrize("kind", ["pt2", "pth", "safetensors"])
def test_damaged_files_give_typed_errors(kind, tmp_path):
    path = tmp_path / f"model.{kind}"
    write_file(kind, path)
    good = path.read_bytes()
    assert expect_typed(kind, path, good)
    damaged = tmp_path / f"damaged.{kind}"
    for size in {*range(0, len(good), max(1, len(good) // 200)), len(good) - 1}:
        assert not expect_typed(kind, damaged, good[:size]), f"a prefix of {size} bytes was accepted"
    rng = random.Random(7)
    for _ in range(300):
        content = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        expect_typed(kind, damaged, bytes(content))


@pytest.mark.parametrize("kind", ["pt2", "pth"])
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_reported(kind):
    with pytest.raises(OSError, match="No space left") as info:
        write_file(kind, "/dev/full")
    assert isinstance(info.value, torch.FileError)


@pytest.mark.parametrize("kind", ["pt2", "pth", "safetensors"])
def test_a_failed_save_leaves_the_old_file(kind, tmp_path):
    path = tmp_path / f"model.{kind}"
    write_file(kind, path)
    before = path.read_bytes()
    # A file size limit fails the write half way, whoever the user is (root ignores permissions).
    script = (
        "import resource, signal, sys\n"
        f"sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
        "import pt2q as torch\n"
        "from test_bad_input import write_file\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\n"
        "try:\n"
        f"    write_file({kind!r}, {str(path)!r})\n"
        "except torch.FileError as e:\n"
        "    print(e)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert str(path) in done.stdout and "File too large" in done.stdout
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]  # no temporary left


def test_saving_into_a_missing_folder(tmp_path):
    with pytest.raises(torch.FileError, match="missing"):
        write_file("pt2", tmp_path / "missing" / "model.pt2")
