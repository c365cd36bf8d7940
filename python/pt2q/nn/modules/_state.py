"""What ``nn.Module.load_state_dict`` does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pt2q
from pt2q.nn.parameter import Parameter


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict`` could not match."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load_state(module: Any, state: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """Copies ``state`` into parameters and buffers, or puts its tensors in their place (``assign``);
    everything is checked before anything changes."""
    if not isinstance(state, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state).__name__}.")
    own = module.state_dict()
    # Checkpoints from before PyTorch 0.4.1 lack the batch counter; it has no use in inference.
    missing = [n for n in own if n not in state and not n.endswith("num_batches_tracked")]
    unexpected = [n for n in state if n not in own]
    special = {p: m for p, m in module.named_modules() if hasattr(m, "_load_own_state")}
    values, grouped = _by_loader({n: state[n] for n in own if n in state}, special)
    problems = _mismatches(own, values)
    if strict:
        problems = [*_key_problems(missing, unexpected), *problems]
    if problems:
        raise RuntimeError(
            f"Error(s) in loading state_dict for {type(module).__name__}:\n\t" + "\n\t".join(problems)
        )
    for path, entries in grouped.items():
        special[path]._load_own_state(entries)
    for name, value in values.items():
        if assign:
            _assign(module, name, value)
        else:
            own[name].copy_(value)
    return IncompatibleKeys(missing, unexpected)


def _by_loader(
    state: Mapping[str, Any], special: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Plain tensors by name, and by path what observers and quantized modules load themselves: their
    state is not only tensors of fixed shape."""
    values: dict[str, Any] = {}
    grouped: dict[str, dict[str, Any]] = {}
    for name, value in state.items():
        path = next((p for p in special if name.startswith(f"{p}." if p else "")), None)
        if path is None:
            values[name] = pt2q.as_tensor(value)
        else:
            grouped.setdefault(path, {})[name[len(path) + 1 :] if path else name] = value
    return values, grouped


def _key_problems(missing: list[str], unexpected: list[str]) -> list[str]:
    kinds = {"Unexpected": unexpected, "Missing": missing}
    return [
        f"{kind} key(s) in state_dict: " + ", ".join(f'"{n}"' for n in names) + ". "
        for kind, names in kinds.items()
        if names
    ]


def _mismatches(own: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    return [
        f"size mismatch for {name}: copying a param with shape {tuple(value.shape)} "
        f"from checkpoint, the shape in current model is {tuple(own[name].shape)}."
        for name, value in values.items()
        if tuple(value.shape) != tuple(own[name].shape)
    ]


def _assign(root: Any, name: str, value: Any) -> None:
    path, _, leaf = name.rpartition(".")
    module = root.get_submodule(path)
    if leaf in module._parameters:
        module._parameters[leaf] = Parameter(value)
    else:
        module._buffers[leaf] = value
