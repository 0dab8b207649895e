"""Writing an ONNX graph by hand: nodes in scopes, constants, and parts that an exporter made, put in as they are."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from blockskim.exporting.int8 import LARGEST_ACTIVATION, ZERO_POINT, quantize
from blockskim.exporting.pieces import Piece

FLOAT, INT64, BOOL = 1, 7, 9
"""Types of values as ONNX numbers them."""


class Value(NamedTuple):
    """A value of a graph: its name, type and number of dimensions."""

    name: str
    kind: int
    rank: int


@dataclass(slots=True)
class Scope:
    """Nodes that run together: those of the graph itself, or of a branch of a condition.

    Attributes:
        name: what names of values in it begin with; unique in a graph.
        nodes: in the order in which they run.
    """

    name: str
    nodes: list[Any] = field(default_factory=list)


class GraphBuilder:
    """A graph in the making.

    Attributes:
        top: the scope of the graph itself.
        initializers: constants, by name.
        weights: parameters and buffers of the model that are read, by the model's names for them.
    """

    def __init__(self, weight_names: Mapping[int, str], int8: Collection[int] = ()) -> None:
        """Begin a graph.

        Args:
            weight_names: the model's name of a parameter or buffer by the ``id`` of the object.
            int8: ``id`` of the weights of linear layers that are to be quantised.
        """
        self.top = Scope("main")
        self.initializers: dict[str, Any] = {}
        self.weights: dict[str, Any] = {}
        self._weight_names = weight_names
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._int8 = frozenset(int8)
        self._quantized: dict[tuple[str, str], tuple[str, str]] = {}
        self._turned: dict[tuple[str, bytes], str] = {}
        self._count = 0

    def new_name(self, scope: Scope, hint: str) -> str:
        """A name for a value that no other value of the graph has."""
        self._count += 1
        return f"{scope.name}/{hint}.{self._count}"

    def constant(self, value: NDArray[Any] | int | float | bool | Sequence[int] | Sequence[float]) -> str:
        """The name of a constant; Python's numbers become int64, float32 or bool."""
        from onnx import numpy_helper

        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"constant.{len(self._constants)}"
            self.initializers[name] = numpy_helper.from_array(array, name)
            self._constants[key] = name
        return self._constants[key]

    def op(self, scope: Scope, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator with one result, whose name it gives."""
        return self.ops(scope, kind, inputs, 1, **attributes)[0]

    def ops(self, scope: Scope, kind: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """Add an operator with several results."""
        from onnx import helper

        names = [self.new_name(scope, kind) for _ in range(outputs)]
        scope.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def call(self, scope: Scope, piece: Piece, inputs: Mapping[str, str]) -> list[str]:
        """Put an exported part in; gives the names of its results.

        Args:
            scope: where it runs.
            piece: the part.
            inputs: names of values of this graph by the names of the part's inputs.
        """
        from onnx import numpy_helper

        names: dict[str, str] = {"": "", **inputs}
        for name, parameter in piece.weights.items():
            names[name] = "" if id(parameter) in self._int8 else self._weight(parameter)
        for initializer in piece.graph.initializer:
            names[initializer.name] = self.constant(numpy_helper.to_array(initializer))
        for node in piece.graph.node:
            weight = piece.weights.get(node.input[1]) if node.op_type == "Gemm" else None
            if weight is not None and id(weight) in self._int8:
                self._copy_int8(scope, node, weight, names)
            else:
                self._copy(scope, node, names)
        return [names[name] for name in _names(piece.graph.output)]

    def _copy_int8(self, scope: Scope, node: Any, parameter: Any, names: dict[str, str]) -> None:
        """Put a linear layer in whose weight is quantised."""
        values, scales = self._quantized_rows(scope, names[node.input[0]])
        weight = quantize(parameter)
        zeros = self.constant(np.zeros(len(weight.scales), dtype=np.int8))
        product = self.op(
            scope, "MatMulInteger", values, self.constant(weight.values), self.constant(ZERO_POINT), zeros
        )
        by_row = self.op(scope, "Mul", self.op(scope, "Cast", product, to=FLOAT), scales)
        scaled = self.op(scope, "Mul", by_row, self.constant(weight.scales))
        names[node.output[0]] = self.op(scope, "Add", scaled, names[node.input[2]])

    def _quantized_rows(self, scope: Scope, states: str) -> tuple[str, str]:
        """States as unsigned bytes and the scale of each row; linear layers with the same input share them.

        Shapes: (tokens, width) to (tokens, width), (tokens, 1)
        """
        if (scope.name, states) not in self._quantized:
            largest = self.op(scope, "ReduceMax", self.op(scope, "Abs", states), self.constant([-1]), keepdims=1)
            scaled = self.op(scope, "Mul", largest, self.constant(1 / LARGEST_ACTIVATION))
            # A row of zeros is divided by something, too.
            scales = self.op(scope, "Max", scaled, self.constant(1e-12))
            steps = self.op(scope, "Div", states, scales)
            values = self.op(scope, "QuantizeLinear", steps, self.constant(1.0), self.constant(ZERO_POINT))
            self._quantized[scope.name, states] = (values, scales)
        return self._quantized[scope.name, states]

    def _copy(self, scope: Scope, node: Any, names: dict[str, str]) -> None:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            from onnx import numpy_helper

            names[node.output[0]] = self.constant(numpy_helper.to_array(node.attribute[0].t))
            return
        made = type(node)()
        made.CopyFrom(node)
        made.name = ""
        made.doc_string = ""
        del made.metadata_props[:]
        del made.input[:], made.output[:]
        made.input.extend(names[name] for name in node.input)
        # What is done to weights alone is done once, in the graph itself, where it is folded when a session starts.
        if node.op_type == "Transpose" and made.input[0] in self.weights:
            key = (made.input[0], b"".join(part.SerializeToString() for part in node.attribute))
            if key not in self._turned:
                self._turned[key] = f"{made.input[0]}/turned"
                made.output.append(self._turned[key])
                self.top.nodes.append(made)
            names[node.output[0]] = self._turned[key]
            return
        for name in node.output:
            names[name] = self.new_name(scope, node.op_type) if name else ""
        made.output.extend(names[name] for name in node.output)
        scope.nodes.append(made)

    def _weight(self, weight: Any) -> str:
        name = self._weight_names[id(weight)]
        self.weights.setdefault(name, weight)
        return name

    def branch(self, scope: Scope, results: Iterable[Value]) -> Any:
        """A scope as the branch of a condition.

        Args:
            scope: what runs in it.
            results: its results. A value that was not made in the scope is handed on.
        """
        from onnx import helper

        made = {name for node in scope.nodes for name in node.output}
        outputs: list[Any] = []
        for name, kind, rank in results:
            own = name if name in made else self.op(scope, "Identity", name)
            # Each result once: a name may not stand for two of them.
            if any(own == other.name for other in outputs):
                own = self.op(scope, "Identity", own)
            outputs.append(helper.make_tensor_value_info(own, kind, [None] * rank))
        return helper.make_graph(scope.nodes, scope.name, [], outputs)

    def condition(self, scope: Scope, chosen: str, yes: Any, no: Any) -> list[str]:
        """Run one of two branches; gives the names of the results."""
        names = [self.new_name(scope, "If") for _ in yes.output]
        from onnx import helper

        scope.nodes.append(helper.make_node("If", [chosen], names, then_branch=yes, else_branch=no))
        return names


def _names(values: Iterable[Any]) -> list[str]:
    return [value.name for value in values]
