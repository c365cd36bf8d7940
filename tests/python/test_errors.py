"""The exception tree and what it carries."""

import builtins

import pytest

import pt2q
from pt2q._core import call

LEAVES = {
    "ValueError": ValueError,
    "TypeError": TypeError,
    "NotImplementedError": NotImplementedError,
    "IndexError": IndexError,
    "KeyError": KeyError,
    "AssertionError": AssertionError,
    "RuntimeError": RuntimeError,
    "FileError": OSError,
    "InternalError": RuntimeError,
}


@pytest.mark.parametrize("name", LEAVES)
def test_leaves_derive_from_the_builtin(name):
    leaf = getattr(pt2q, name)
    assert issubclass(leaf, pt2q.Error) and issubclass(leaf, LEAVES[name])
    error = leaf("what happened")
    assert str(error) == "what happened"
    assert (error.node, error.op, error.hint) == ("", "", "")


def test_builtins_are_not_replaced():
    assert builtins.ValueError is not pt2q.ValueError


def test_errors_name_operator_and_remedy():
    with pytest.raises(pt2q.NotImplementedError) as info:
        call("aten.nope.default")
    assert info.value.hint and "Hint:" in str(info.value)
    with pytest.raises(TypeError) as info:
        call("aten.relu.default", 1, 2)
    assert info.value.op == "aten.relu.default"


def test_multi_line_messages_print_plainly():
    with pytest.raises(KeyError) as info:
        pt2q.fx.Graph().placeholder("x").meta["absent"]
    assert str(info.value).startswith("the metadata of node 'x'")


def test_warnings_go_through_pythons_machinery():
    import subprocess
    import sys

    code = "import pt2q, sys; assert 'numpy' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == result.stderr == ""
