"""Recipes for observers: what ``Class.with_args(...)`` returns."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any


def _flatten(recipe: Any) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The innermost callable, its keywords (outer ones win) and its late arguments."""
    if isinstance(recipe, _PartialWrapper):
        target, keywords, late = _flatten(recipe.p)
        return target, keywords, {**late, **recipe.callable_args}
    if isinstance(recipe, partial) and not recipe.args:
        target, keywords, late = _flatten(recipe.func)
        return target, {**keywords, **recipe.keywords}, late
    return recipe, {}, {}


class _PartialWrapper:
    """A callable with stored arguments; calling it makes a new instance.

    Unlike PyTorch's, two recipes of the same class and arguments are equal, however they were
    chained.
    """

    def __init__(self, p: Callable[..., Any]) -> None:
        self.p = p
        self.callable_args: dict[str, Callable[[], Any]] = {}

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        late = {k: f() for k, f in self.callable_args.items() if k not in keywords}
        return self.p(*args, **{**keywords, **late})

    def __repr__(self) -> str:
        return repr(self.p) + repr(self.callable_args)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (_PartialWrapper, partial, type)):
            return NotImplemented
        return _flatten(self) == _flatten(other)

    def __hash__(self) -> int:
        return hash(_flatten(self)[0])

    def with_args(self, **kwargs: Any) -> _PartialWrapper:
        """A new recipe with more arguments; later ones win."""
        return with_args(self, **kwargs)

    def with_callable_args(self, **kwargs: Callable[[], Any]) -> _PartialWrapper:
        """A new recipe with arguments that are computed each time an instance is made."""
        result = _PartialWrapper(self.p)
        result.callable_args = {**self.callable_args, **kwargs}
        return result


def with_args(cls_or_self: Callable[..., Any], **kwargs: Any) -> _PartialWrapper:
    """The recipe of ``cls_or_self`` with these arguments stored."""
    return _PartialWrapper(partial(cls_or_self, **kwargs))


def with_callable_args(
    cls_or_self: Callable[..., Any], **kwargs: Callable[[], Any]
) -> _PartialWrapper:
    """The recipe of ``cls_or_self`` with arguments computed when an instance is made."""
    return _PartialWrapper(partial(cls_or_self)).with_callable_args(**kwargs)
