"""Writing a model as an ONNX graph beside its weights, tokenizer and config."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from blockskim.data.tokens import pair_template
from blockskim.encoders.positions import depends_on_positions
from blockskim.errors import ConfigError, ModelError
from blockskim.export.graph_builder import GraphBuilder
from blockskim.export.manifest import GRAPH, LinearCost, Manifest, digest
from blockskim.export.pieces import OPSET, PieceExporter
from blockskim.export.skim_graph import SkimGraph
from blockskim.export.weight_files import external_weight, stored_tensors
from blockskim.extras import has, raise_missing
from blockskim.inference.window_settings import position_limit
from blockskim.method.predictors.predictor import predictor_cost
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.stored_weights import WEIGHTS

IR_VERSION = 10
"""Of ONNX's file format: the oldest that has the operators of the opset, so that older runtimes read it."""

FAMILIES = ("albert", "bert", "camembert", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta")
"""``model_type`` of the encoders that can be exported."""


def check_exportable(model: BlockSkimForQuestionAnswering) -> None:
    """Refuse a model that no graph can be made of.

    Raises:
        ConfigError: its family can't be exported, or a package is missing.
    """
    family = model.config.encoder_config.model_type
    if family not in FAMILIES:
        raise ConfigError(f"encoders of type {family!r} can't be exported; these can: {', '.join(FAMILIES)}")
    adapter = model.adapter
    assert adapter.final_norm is None and (adapter.position_bias is not None or not depends_on_positions(adapter))
    missing = [package for package in ("onnx", "onnxscript") if not has(package)]
    if missing:
        raise_missing(f"export needs {missing[0]}, which is not installed", "export")


def write_graph(model: BlockSkimForQuestionAnswering, directory: Path, token_types: bool) -> Path:
    """Write the graph of a model whose weights lie in a directory; gives its path.

    Args:
        model: in evaluation mode, in float32, on a CPU.
        directory: with the ``model.safetensors`` that the graph is to read.
        token_types: whether the graph takes token types.

    Raises:
        ModelError: a weight of the model is not in the file.
    """
    import onnx
    from onnx import helper

    names = {id(value): name for name, value in reversed(list(model.named_parameters(remove_duplicate=False)))}
    builder = GraphBuilder(names)
    writer = SkimGraph(builder, PieceExporter(model), token_types)
    outputs = writer.write()
    stored, casts = _weights(builder, directory / WEIGHTS)
    renamed = _output_names(writer)
    nodes = [*casts, *builder.top.nodes]
    nodes += [helper.make_node("Identity", [value.name], [new]) for value, new in zip(outputs, renamed, strict=True)]
    graph = helper.make_graph(
        nodes,
        "blockskim",
        [helper.make_tensor_value_info(name, kind, dims) for name, kind, dims in writer.inputs],
        [
            helper.make_tensor_value_info(new, value.kind, [None] * value.rank)
            for value, new in zip(outputs, renamed, strict=True)
        ],
        [*stored, *builder.initializers.values()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="blockskim")
    proto.ir_version = IR_VERSION
    path = directory / GRAPH
    path.write_bytes(proto.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(path))
    return path


def _output_names(writer: SkimGraph) -> list[str]:
    names = ["logits", "places"]
    for layer in writer.asking:
        names += [f"probabilities_{layer}", f"kept_{layer}"]
    return names


def _weights(builder: GraphBuilder, path: Path) -> tuple[list[Any], list[Any]]:
    """Initialisers that point into the file of weights, and the nodes that cast them."""
    tensors = stored_tensors(path)
    stored, casts = [], []
    for name, parameter in builder.weights.items():
        if name not in tensors or tensors[name].shape != tuple(parameter.shape):
            raise ModelError(f"{path} has no weight {name!r} of the shape {tuple(parameter.shape)}")
        initializer, cast = external_weight(name, tensors[name], path.name)
        stored.append(initializer)
        casts += [] if cast is None else [cast]
    return stored, casts


def manifest_of(
    model: BlockSkimForQuestionAnswering, tokenizer: PreTrainedTokenizerBase, directory: Path, graphs: list[Path]
) -> Manifest:
    """What the directory of a model says of itself."""
    config = model.skim_config
    template = pair_template(tokenizer)
    backbone = model.backbone
    return Manifest(
        graphs={path.name: digest(path) for path in graphs},
        weights={WEIGHTS: (directory / WEIGHTS).stat().st_size},
        num_layers=len(backbone.layers),
        skim_layers=model.skim_layers,
        trained_predictors=model.has_trained_predictors,
        position_limit=position_limit(model),
        token_types=template.types is not None,
        template=asdict(template),
        cost=asdict(model.cost),
        predictor_costs=tuple(
            _linear_cost(lambda tokens, dims=backbone.dims(layer): predictor_cost(config, dims, tokens))  # type: ignore[misc]
            for layer in model.skim_layers
        ),
        block_size=config.block_size,
        alignment=config.alignment,
    )


def _linear_cost(cost: Any) -> LinearCost:
    """The cost of a predictor as a linear function of the tokens of the question."""
    none, one, two = cost(0), cost(1), cost(2)
    assert two.block - one.block == one.block - none.block and two.sample - one.sample == one.sample - none.sample
    return LinearCost((none.block, one.block - none.block), (none.sample, one.sample - none.sample))
