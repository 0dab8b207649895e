"""The whole skimming forward pass over one window as an ONNX graph: parts of the model, and dropping between them.

Its inputs, all of one window:

- ``input_ids``, and ``token_type_ids`` in a family that has them. Shape: (tokens,)
- ``question``: places of the question's tokens. Shape: (question,)
- ``first``, ``count``: place of the first token of the first droppable block, and tokens of all of them. Shape: ()
- ``thresholds``: of the layers that have a predictor; 0 doesn't ask it, a negative one asks and drops nothing.
  Shape: (layers,)
- ``keep_one``: whether the likeliest block stays where none passes. Shape: ()

Its outputs:

- ``logits``: start and end logits of the tokens that are left. Shape: (left, 2)
- ``places``: where these stand in the window. Shape: (left,)
- ``probabilities_N``: keep probabilities of the blocks that were there in layer N, if its predictor was asked, else
  nothing. Shape: (blocks,)
- ``kept_N``: numbers of the blocks that stayed. Shape: (kept,)

A window of which nothing is left runs no further: its ``logits`` are empty.
"""

from dataclasses import dataclass, replace
from typing import Any

from blockskim.exporting.graph_builder import BOOL, FLOAT, INT64, GraphBuilder, Scope, Value
from blockskim.exporting.pieces import PieceExporter

Results = list[Value]


@dataclass(frozen=True, slots=True)
class _State:
    """Names of the values that describe what is left of the window.

    Attributes:
        hidden: states entering the layer. Shape: (tokens, hidden)
        places: of the tokens in the window. Shape: (tokens,)
        numbers: of the blocks. Shape: (blocks,)
        count: tokens in blocks. Shape: ()
        bias: position bias between the tokens, in a family that has one. Shape: (heads, tokens, tokens)
    """

    hidden: str
    places: str
    numbers: str
    count: str
    bias: str | None


class SkimGraph:
    """Writes the graph of a model."""

    def __init__(self, builder: GraphBuilder, exporter: PieceExporter, token_types: bool) -> None:
        """Take what writes graphs and what exports parts; ``token_types`` tells whether the model has them."""
        self.builder = builder
        self.exporter = exporter
        self.token_types = token_types
        self.model = exporter.model
        self.block_size = self.model.skim_config.block_size
        trained = self.model.has_trained_predictors
        self.asking = self.model.skim_layers if trained else ()

    @property
    def inputs(self) -> list[tuple[str, int, list[str]]]:
        """Name, type and dimensions of each input."""
        ids = ["input_ids", "token_type_ids"] if self.token_types else ["input_ids"]
        found = [(name, INT64, ["tokens"]) for name in ids]
        if self.asking:
            found += [
                ("question", INT64, ["question"]),
                ("first", INT64, []),
                ("count", INT64, []),
                ("thresholds", FLOAT, [str(len(self.asking))]),
                ("keep_one", BOOL, []),
            ]
        return found

    def write(self) -> Results:
        """Write it into the builder; gives the names of the outputs, in whose order they are."""
        make, scope = self.builder, self.builder.top
        ids = {name: name for name, _, dims in self.inputs if dims == ["tokens"]}
        (hidden,) = make.call(scope, self.exporter.embed(self.token_types), ids)
        size = make.op(scope, "Squeeze", make.op(scope, "Shape", "input_ids"))
        places = make.op(scope, "Range", make.constant(0), size, make.constant(1))
        numbers, count = make.constant([0]), make.constant(0)
        if self.asking:
            count = "count"
            filled = make.op(scope, "Add", count, make.constant(self.block_size - 1))
            blocks = make.op(scope, "Div", filled, make.constant(self.block_size))
            numbers = make.op(scope, "Range", make.constant(0), blocks, make.constant(1))
        return self._layers(scope, _State(hidden, places, numbers, count, self._bias(scope, places)), 1)

    def _bias(self, scope: Scope, places: str) -> str | None:
        if not self.exporter.has_bias:
            return None
        return self.builder.call(scope, self.exporter.position_bias(), {"positions": places})[0]

    def _layers(self, scope: Scope, state: _State, first: int) -> Results:
        """Run the layers from ``first`` on; gives logits, places, and what predictors said in these layers."""
        make, exporter = self.builder, self.exporter
        for number in range(first, len(exporter.backbone.layers) + 1):
            asks = number in self.asking
            predictor: Any = self.model.predictors[str(number)] if asks else None
            wants_attention = asks and bool(predictor.wants_attention)
            given = {"hidden": state.hidden} | ({} if state.bias is None else {"bias": state.bias})
            attended, *seen = make.call(scope, exporter.attend(number, wants_attention), given)
            if asks:
                return self._skimming_layer(scope, state, number, attended, seen)
            (hidden,) = make.call(scope, exporter.finish(number), {"attended": attended, "hidden": state.hidden})
            state = replace(state, hidden=hidden)
        (logits,) = make.call(scope, exporter.head(), {"hidden": state.hidden})
        return [Value(logits, FLOAT, 2), Value(state.places, INT64, 1)]

    def _skimming_layer(self, scope: Scope, state: _State, number: int, attended: str, seen: list[str]) -> Results:
        """Ask the predictor of a layer, drop, and run the rest of the model if anything is left."""
        make = self.builder
        threshold = make.op(scope, "Gather", "thresholds", make.constant(self.asking.index(number)))
        unasked = make.op(scope, "Equal", threshold, make.constant(0.0))
        nothing = make.op(scope, "Equal", self._size(scope, state.numbers), make.constant(0))
        asked = make.op(scope, "Not", make.op(scope, "Or", unasked, nothing))
        yes, no = Scope(f"layer{number}.asked"), Scope(f"layer{number}.unasked")
        dropped = make.branch(yes, self._dropped(yes, state, number, attended, seen, threshold))
        empty = make.constant([0.0])
        none = make.op(no, "Slice", empty, make.constant([0]), make.constant([0]))
        same = [Value(attended, FLOAT, 2), *_values(state), Value(none, FLOAT, 1)]
        left = make.condition(scope, asked, dropped, make.branch(no, same))
        attended, state, probabilities = left[0], _state(left[1:-1]), left[-1]
        some = make.op(scope, "Greater", self._size(scope, state.numbers), make.constant(0))
        alive = make.op(scope, "Or", make.op(scope, "Not", asked), some)
        on, off = Scope(f"layer{number}.left"), Scope(f"layer{number}.gone")
        (hidden,) = make.call(on, self.exporter.finish(number), {"attended": attended, "hidden": state.hidden})
        rest = self._layers(on, replace(state, hidden=hidden), number + 1)
        results = make.condition(scope, alive, make.branch(on, rest), make.branch(off, self._empty(off, rest)))
        ends = [value._replace(name=name) for name, value in zip(results, rest, strict=True)]
        own = [Value(probabilities, FLOAT, 1), Value(state.numbers, INT64, 1)]
        return [*ends[:2], *own, *ends[2:]]

    def _size(self, scope: Scope, vector: str) -> str:
        """Number of entries of a vector. Shape: ()."""
        return self.builder.op(scope, "Squeeze", self.builder.op(scope, "Shape", vector))

    def _empty(self, scope: Scope, like: Results) -> Results:
        """Empty values of the types and ranks of others; those of rank 2 have two columns."""
        make = self.builder
        one = {FLOAT: make.constant([0.0]), INT64: make.constant([0])}
        results: Results = []
        for value in like:
            empty = make.op(scope, "Slice", one[value.kind], make.constant([0]), make.constant([0]))
            if value.rank == 2:
                empty = make.op(scope, "Reshape", empty, make.constant([0, 2]), allowzero=1)
            results.append(value._replace(name=empty))
        return results

    def _dropped(
        self, scope: Scope, state: _State, number: int, attended: str, seen: list[str], threshold: str
    ) -> Results:
        """What is left after asking the predictor of a layer: attention output, the state, and the probabilities."""
        make, size = self.builder, self.block_size
        blocks = self._size(scope, state.numbers)
        order = make.op(scope, "Range", make.constant(0), blocks, make.constant(1))
        starts = make.op(scope, "Add", "first", make.op(scope, "Mul", order, make.constant(size)))
        column = make.op(scope, "Unsqueeze", starts, make.constant([1]))
        inside = make.op(scope, "Add", column, make.constant(list(range(size))))
        end = make.op(scope, "Add", "first", state.count)
        exists = make.op(scope, "Less", inside, end)
        tokens = make.op(scope, "Where", exists, inside, column)
        given = {
            "attended": attended,
            "hidden": state.hidden,
            "tokens": tokens,
            "exists": exists,
            "question": self._question(scope, state),
            "numbers": state.numbers,
        }
        if seen:
            given |= dict(zip(("query", "key", "log_sum_exp"), seen, strict=True))
            given |= {} if state.bias is None else {"bias": state.bias}
        (probabilities,) = make.call(scope, self.exporter.score(number), given)
        keep = self._keep(scope, probabilities, order, threshold)
        staying = make.op(scope, "Squeeze", make.op(scope, "NonZero", keep), make.constant([0]))
        rows = self._rows(scope, state, keep, blocks, end)
        places, numbers = make.op(scope, "Gather", state.places, rows), make.op(scope, "Gather", state.numbers, staying)
        gone = make.op(scope, "Sub", self._size(scope, state.places), self._size(scope, places))
        left = _State(
            hidden=make.op(scope, "Gather", state.hidden, rows),
            places=places,
            numbers=numbers,
            count=make.op(scope, "Sub", state.count, gone),
            bias=self._bias(scope, places),
        )
        attended = make.op(scope, "Gather", attended, rows)
        return [Value(attended, FLOAT, 2), *_values(left), Value(probabilities, FLOAT, 1)]

    def _question(self, scope: Scope, state: _State) -> str:
        """Rows of the question's tokens: those behind the blocks moved up by what was dropped. Shape: (question,)."""
        make = self.builder
        # A question without tokens of its own has all that is not context, and so what stands behind it, too.
        before = make.op(scope, "Less", "question", make.op(scope, "Add", "first", "count"))
        gone = make.op(scope, "Sub", "count", state.count)
        return make.op(scope, "Where", before, "question", make.op(scope, "Sub", "question", gone))

    def _keep(self, scope: Scope, probabilities: str, order: str, threshold: str) -> str:
        """Which blocks stay. Shape: (blocks,)."""
        make = self.builder
        # So that a block without a number (NaN) stays.
        passing = make.op(scope, "Not", make.op(scope, "Less", probabilities, threshold))
        best = make.op(scope, "ArgMax", probabilities, axis=0, keepdims=0)
        likeliest = make.op(scope, "Equal", order, best)
        numbers = make.op(scope, "Cast", passing, to=INT64)
        none = make.op(scope, "Equal", make.op(scope, "ReduceSum", numbers, keepdims=0), make.constant(0))
        saved = make.op(scope, "And", make.op(scope, "And", none, "keep_one"), likeliest)
        return make.op(scope, "Or", passing, saved)

    def _rows(self, scope: Scope, state: _State, keep: str, blocks: str, end: str) -> str:
        """Rows of the tokens that stay: those of blocks that do, and all that are in no block. Shape: (left,)."""
        make = self.builder
        tokens = make.op(scope, "Range", make.constant(0), self._size(scope, state.places), make.constant(1))
        behind = make.op(scope, "Sub", tokens, "first")
        inside = make.op(
            scope,
            "And",
            make.op(scope, "GreaterOrEqual", behind, make.constant(0)),
            make.op(scope, "Less", tokens, end),
        )
        block = make.op(scope, "Where", inside, make.op(scope, "Div", behind, make.constant(self.block_size)), blocks)
        stays = make.op(scope, "Concat", keep, make.constant([True]), axis=0)
        return make.op(
            scope, "Squeeze", make.op(scope, "NonZero", make.op(scope, "Gather", stays, block)), make.constant([0])
        )


def _values(state: _State) -> Results:
    """The values that a state holds."""
    bias = [] if state.bias is None else [Value(state.bias, FLOAT, 3)]
    return [
        Value(state.hidden, FLOAT, 2),
        Value(state.places, INT64, 1),
        Value(state.numbers, INT64, 1),
        Value(state.count, INT64, 0),
        *bias,
    ]


def _state(names: list[str]) -> _State:
    """The state of which these are the values."""
    hidden, places, numbers, count, *bias = names
    return _State(hidden, places, numbers, count, bias[0] if bias else None)
