"""Graphs that are put together by hand, and run."""

import numpy as np
import pytest

from blockskim.exporting.graph_builder import BOOL, FLOAT, INT64, GraphBuilder, Scope, Value
from blockskim.exporting.pieces import Piece

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
helper, numpy_helper = onnx.helper, onnx.numpy_helper

WEIGHT, OTHER = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32), np.array([[0.5], [0.25]], np.float32)


def run(make, outputs, **inputs):
    """Run what was built; weights are put into the graph."""
    kinds = {np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64, np.dtype(np.bool_): BOOL}
    given = [Value(name, kinds[value.dtype], value.ndim) for name, value in inputs.items()]
    weights = [numpy_helper.from_array(value, name) for name, value in make.weights.items()]
    graph = helper.make_graph(
        make.top.nodes,
        "test",
        [helper.make_tensor_value_info(name, kind, [None] * rank) for name, kind, rank in given],
        [helper.make_tensor_value_info(name, kind, [None] * rank) for name, kind, rank in outputs],
        [*weights, *make.initializers.values()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, inputs)


def floats(*values):
    return np.array(values, np.float32)


def builder(**weights):
    return GraphBuilder({id(value): name for name, value in weights.items()})


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(3, np.int64), (0.5, np.float32), (True, np.bool_), ([1, 2], np.int64), ([0.5], np.float32), (WEIGHT, np.float32)],
)
def test_constants_have_the_type_that_operators_want(value, dtype):
    make = builder()
    array = numpy_helper.to_array(make.initializers[make.constant(value)])
    assert array.dtype == dtype
    assert np.array_equal(array, np.asarray(value))


def test_equal_constants_are_one():
    make = builder()
    names = [make.constant(value) for value in (1, 1, [1], 1.0, True, np.int32(1), [[1]])]
    assert names[0] == names[1]
    # Types and shapes count.
    assert len(set(names)) == len(make.initializers) == 6


def test_names_are_new_everywhere():
    make = builder()
    names = [make.new_name(scope, "Add") for scope in (make.top, Scope("other"), make.top)]
    assert len(set(names)) == 3


def test_operators_run_in_their_order():
    make = builder()
    total = make.op(make.top, "Add", "left", "right")
    split = make.ops(make.top, "Split", [make.op(make.top, "Mul", total, total)], 2, axis=0, num_outputs=2)
    found = run(make, [Value(name, FLOAT, 1) for name in split], left=floats(1, 2), right=floats(3, 4))
    assert [part.tolist() for part in found] == [[16.0], [36.0]]


@pytest.mark.parametrize("chosen", [True, False])
def test_a_branch_hands_on_what_it_did_not_make(chosen):
    make, yes, no = builder(), Scope("yes"), Scope("no")
    doubled = make.op(yes, "Add", "value", "value")
    # Twice the same result, and twice one from outside.
    results = [Value(name, FLOAT, 1) for name in (doubled, doubled, "value", "value")]
    same = [Value("value", FLOAT, 1)] * 4
    names = make.condition(make.top, "chosen", make.branch(yes, results), make.branch(no, same))
    found = run(make, [Value(name, FLOAT, 1) for name in names], value=floats(1, 2), chosen=np.array(chosen))
    assert [part.tolist() for part in found] == ([[2, 4]] * 2 if chosen else [[1, 2]] * 2) + [[1, 2]] * 2


@pytest.mark.parametrize("chosen", [True, False])
def test_branches_may_give_other_lengths_and_nest(chosen):
    make, outer, inner, no = builder(), Scope("outer"), Scope("inner"), Scope("no")
    long = make.op(inner, "Concat", "value", "value", axis=0)
    short = [Value("value", FLOAT, 1)]
    nested = make.condition(
        outer, "chosen", make.branch(inner, [Value(long, FLOAT, 1)]), make.branch(Scope("else"), short)
    )
    names = make.condition(make.top, "chosen", make.branch(outer, [Value(nested[0], FLOAT, 1)]), make.branch(no, short))
    (found,) = run(make, [Value(names[0], FLOAT, 1)], value=floats(7), chosen=np.array(chosen))
    assert found.tolist() == ([7, 7] if chosen else [7])


def piece(weight):
    """``states @ transposed(weight) + 1``, as an exporter may write it."""
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["the.weight"], ["turned"], perm=[1, 0], name="node", doc_string="told"),
            helper.make_node("MatMul", ["states", "turned"], ["product"]),
            helper.make_node("Constant", [], ["one"], value=numpy_helper.from_array(floats(1))),
            helper.make_node("Add", ["product", "one"], ["sum"]),
            helper.make_node("Add", ["sum", "nothing"], ["result"]),
        ],
        "piece",
        [
            helper.make_tensor_value_info("the.weight", FLOAT, weight.shape),
            helper.make_tensor_value_info("states", FLOAT, [None, weight.shape[1]]),
        ],
        [helper.make_tensor_value_info("result", FLOAT, [None, None])],
        [numpy_helper.from_array(floats(0), "nothing")],
    )
    return Piece(graph, {"the.weight": weight})


def test_a_part_is_put_in_as_often_as_it_is_called():
    weight, other = WEIGHT, OTHER
    make = builder(first=weight, second=other)
    (once,) = make.call(make.top, piece(weight), {"states": "states"})
    (twice,) = make.call(make.top, piece(weight), {"states": "states"})
    (more,) = make.call(make.top, piece(other), {"states": "column"})
    outputs = [Value(name, FLOAT, 2) for name in (once, twice, more)]
    states, column = floats([1, 2, 3], [0, 1, 0]), floats([2])
    found = run(make, outputs, states=states, column=column)
    assert np.array_equal(found[0], states @ weight.T + 1)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[2], column @ other.T + 1)
    assert list(make.weights) == ["first", "second"]
    # A weight is turned once, however often it is used.
    assert [node.op_type for node in make.top.nodes].count("Transpose") == 2


def test_a_weight_that_a_branch_turns_is_turned_outside():
    make, yes, no = builder(first=WEIGHT), Scope("yes"), Scope("no")
    (result,) = make.call(yes, piece(WEIGHT), {"states": "states"})
    assert [node.op_type for node in make.top.nodes] == ["Transpose"]
    branches = make.branch(yes, [Value(result, FLOAT, 2)]), make.branch(no, [Value("states", FLOAT, 2)])
    (name,) = make.condition(make.top, "chosen", *branches)
    states = floats([1, 2, 3])
    (found,) = run(make, [Value(name, FLOAT, 2)], states=states, chosen=np.array(True))
    assert np.array_equal(found, states @ WEIGHT.T + 1)


def test_names_of_nodes_and_notes_are_left_out():
    make = builder(first=WEIGHT)
    make.call(make.top, piece(WEIGHT), {"states": "states"})
    assert all(node.name == node.doc_string == "" for node in make.top.nodes)
