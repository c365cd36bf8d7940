"""python/pt2q/_core.pyi, the types of the compiled module (`make python-test` checks that it is up to date)."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import make_stubs
import pt2q._core


def test_the_stub_has_the_types_that_users_see():
    text = make_stubs.STUB.read_text()
    for line in (
        "class Tensor",
        "class GraphModule",
        "    def numel(self) -> builtins.int: ...",
        "    def explain(self, *args: Any) -> builtins.str: ...",
        "def isa_name() -> builtins.str: ...",
        "class ValueError(Error, builtins.ValueError): ...",
    ):
        assert line in text


def test_signatures_are_read_from_docstrings():
    stubs = make_stubs.Stubs(pt2q._core)
    plain = "f(self: pt2q._core.Tensor, n: typing.SupportsInt | typing.SupportsIndex = 3) -> str\n\nText."
    assert stubs.signatures("f", plain) == ["(self, n: builtins.int=...) -> builtins.str"]
    overloaded = "f(*args, **kwargs)\nOverloaded function.\n\n1. f(x: object) -> None\n\n2. f(x: nowhere.Type) -> bool\n"
    assert stubs.signatures("f", overloaded) == ["(x: Any) -> None", "(x: Any) -> builtins.bool"]
    assert stubs.signatures("f", "f(x: <class 'odd'>) -> None") == []  # becomes (*args, **kwargs)
    assert stubs.signatures("f", None) == []
