"""``pt2q.save`` and ``pt2q.load``: state dictionaries, without ever executing what a file says."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import IO, Any

from pt2q import _core
from pt2q._core import Tensor

__all__ = ["load", "save"]


def is_path(file: Any) -> bool:
    return isinstance(file, (str, bytes, os.PathLike))


@contextlib.contextmanager
def path_to_write(file: Any) -> Iterator[str]:
    """A path to write; for a file object a temporary one, copied into it at the end."""
    if is_path(file):
        yield os.fsdecode(file)
        return
    if not hasattr(file, "write"):
        raise TypeError(f"expected a path or a file opened for writing, got {type(file).__name__}")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "archive")
        yield path
        with open(path, "rb") as source:
            file.write(source.read())


@contextlib.contextmanager
def path_to_read(file: Any) -> Iterator[str]:
    """A path to read; the content of a file object goes to a temporary one."""
    if is_path(file):
        yield os.fsdecode(file)
        return
    if not hasattr(file, "read"):
        raise TypeError(f"expected a path or a file opened for reading, got {type(file).__name__}")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "archive")
        with open(path, "wb") as target:
            target.write(file.read())
        yield path


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor) or hasattr(value, "__array__")


def _is_state(value: Any) -> bool:
    """What state dictionaries hold; of quantized modules also packed parameters and a dtype."""
    if isinstance(value, tuple):
        return all(_is_state(v) for v in value)
    return value is None or _is_array(value) or isinstance(value, (_core.QuantizedTensor, _core.dtype))


def save(obj: Mapping[str, Any], f: str | os.PathLike[str] | IO[bytes], **_: Any) -> None:
    """Writes a state dictionary as a file that ``torch.load`` and ``pt2q.load`` open.

    A path that ends in ``.safetensors`` gives that format. The old file stays intact until the new one
    is complete.

    Args:
        obj: names and tensors (or arrays), e.g. ``model.state_dict()``.
        f: path or binary file.

    Raises:
        TypeError: ``obj`` is something else; exported models go through ``pt2q.export.save``.
        FileError: the file cannot be written.
    """
    if not isinstance(obj, Mapping) or not all(_is_state(v) for v in obj.values()):
        what = type(obj).__name__
        if isinstance(obj, Mapping):
            key = next(k for k, v in obj.items() if not _is_state(v))
            what = f"a dict whose entry '{key}' is {type(obj[key]).__name__}"
        raise TypeError(
            f"pt2q.save writes dictionaries of tensors, got {what}: save model.state_dict(), "
            "or an exported model with pt2q.export.save"
        )
    with path_to_write(f) as path:
        if is_path(f) and path.endswith(".safetensors"):
            _core._save_safetensors(dict(obj), path, {})
        else:
            _core._save_pth(dict(obj), path)


def load(
    f: str | os.PathLike[str] | IO[bytes],
    map_location: Any = None,
    weights_only: bool = True,
    **_: Any,
) -> OrderedDict[str, Any]:
    """Reads a state dictionary: a PyTorch ``.pth`` file or ``.safetensors``, told apart by content.

    Entries are tensors; of models quantized in eager mode also quantized tensors, and for packed
    parameters tuples and a dtype. No code in the file is executed, whatever ``weights_only`` says.

    Raises:
        FileError: the file is missing, damaged or no such file.
        NotImplementedError: the file holds more than tensors and plain containers.
    """
    del map_location, weights_only
    with path_to_read(f) as path:
        return OrderedDict(_core._load_state_dict(path))
