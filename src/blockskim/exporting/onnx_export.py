"""A model as an ONNX graph that reads its weights from the model's own file, and what it takes to run it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from blockskim.atomic import write_whole
from blockskim.data.tokens import FrozenTokenizer
from blockskim.encoders import EncoderAdapter, adapter_for, supported_types
from blockskim.encoders.positions import depends_on_positions
from blockskim.errors import ConfigError, ModelError
from blockskim.exporting.graph_builder import GraphBuilder
from blockskim.exporting.int8 import Product, weights_of
from blockskim.exporting.manifest import LinearCost, Manifest, WeightFile, digest, encoder_settings
from blockskim.exporting.pieces import PieceExporter
from blockskim.exporting.skim_graph import SkimGraph
from blockskim.exporting.tracing import OPSET
from blockskim.exporting.weight_files import external_weight, fingerprint, stored_tensors
from blockskim.extras import has, raise_missing
from blockskim.kernels.dims import LayerDims
from blockskim.method.config import SkimConfig
from blockskim.method.predictors.predictor import predictor_cost
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.stored_weights import WEIGHTS

IR_VERSION = 10
"""Of ONNX's file format: the oldest that has the operators of the opset, so that older runtimes read it."""

MOST_PREDICTORS = 30
"""Each of them nests the rest of the model in a branch, and ONNX files can't nest deeper."""


def check_exportable(model: BlockSkimForQuestionAnswering) -> None:
    """Refuse a model that no graph can be made of.

    Raises:
        ConfigError: its family can't be exported, or a package is missing.
    """
    if not is_exportable(model.adapter):
        family, known = model.config.encoder_config.model_type, ", ".join(exportable_families())
        raise ConfigError(f"encoders of type {family!r} can't be exported; these can: {known}")
    if len(model.skim_layers) > MOST_PREDICTORS:
        raise ConfigError(
            f"models with more than {MOST_PREDICTORS} skim predictors can't be exported; this one has "
            f"{len(model.skim_layers)}"
        )
    missing = [package for package in ("onnx", "onnxscript", "onnxruntime") if not has(package)]
    if missing:
        raise_missing(f"export needs {missing[0]}, which is not installed", "export")


def is_exportable(adapter: EncoderAdapter) -> bool:
    """Whether graphs can be made of a family: those without relative, rotary or bounded attention and a final norm."""
    return adapter.final_norm is None and (adapter.position_bias is not None or not depends_on_positions(adapter))


def exportable_families() -> list[str]:
    """``model_type`` of the encoders that can be exported."""
    return [name for name in supported_types() if is_exportable(adapter_for(name))]


def write_graph(
    exporter: PieceExporter, weights: Path, path: Path, token_types: bool, int8: Sequence[Product] = ()
) -> None:
    """Write the graph of a model.

    Args:
        exporter: of the model, which is in evaluation mode, in float32, on a CPU. It keeps what it traced.
        weights: safetensors file with the model's weights, which the graph is to read from the folder that it is in.
        path: of the graph.
        token_types: whether the graph takes token types.
        int8: what of the model is quantised.

    Raises:
        ModelError: a weight of the model is not in the file.
    """
    from onnx import helper

    model = exporter.model
    names = {id(value): name for name, value in reversed(model.state_dict(keep_vars=True).items())}
    builder = GraphBuilder(names, weights_of(model, int8))
    writer = SkimGraph(builder, exporter, token_types)
    outputs = writer.write()
    stored, casts = _weights(builder, weights)
    named = list(zip(outputs, _output_names(writer), strict=True))
    graph = helper.make_graph(
        [*casts, *builder.top.nodes, *(helper.make_node("Identity", [value.name], [name]) for value, name in named)],
        "blockskim",
        [helper.make_tensor_value_info(name, kind, dims) for name, kind, dims in writer.inputs],
        [helper.make_tensor_value_info(name, value.kind, [None] * value.rank) for value, name in named],
        [*stored, *builder.initializers.values()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="blockskim")
    proto.ir_version = IR_VERSION
    write_whole(path, proto.SerializeToString(deterministic=True))


def _output_names(writer: SkimGraph) -> list[str]:
    names = ["logits", "places"]
    for layer in writer.asking:
        names += [f"probabilities_{layer}", f"kept_{layer}"]
    return names


def _weights(builder: GraphBuilder, path: Path) -> tuple[list[Any], list[Any]]:
    """Initialisers that point into the file of weights, and the nodes that cast them."""
    tensors = stored_tensors(path)
    stored, casts = [], []
    for name, weight in builder.weights.items():
        if name not in tensors or tensors[name].shape != tuple(weight.shape):
            raise ModelError(f"{path} has no weight {name!r} of the shape {tuple(weight.shape)}")
        initializer, cast = external_weight(name, tensors[name], path.name)
        stored.append(initializer)
        casts += [] if cast is None else [cast]
    return stored, casts


def manifest_of(
    model: BlockSkimForQuestionAnswering, tokenizer: FrozenTokenizer, files: Mapping[str, Path]
) -> Manifest:
    """What the directory of an exported model says of itself.

    Args:
        model: that was exported.
        tokenizer: its tokenizer.
        files: where the graphs, the tokenizer and the weights lie, by their names in the directory.
    """
    config, backbone = model.skim_config, model.backbone
    return Manifest(
        digests={name: digest(path) for name, path in files.items() if name != WEIGHTS},
        weights={WEIGHTS: WeightFile(files[WEIGHTS].stat().st_size, fingerprint(files[WEIGHTS]))},
        num_layers=len(backbone.layers),
        skim_layers=model.skim_layers,
        trained_predictors=model.has_trained_predictors,
        position_limit=model.position_limit,
        token_types=tokenizer.template.types is not None,
        vocabulary=_vocabulary(model),
        template=tokenizer.template,
        split_special_tokens=tokenizer.backend.encode_special_tokens,
        cost=model.cost,
        predictor_costs=tuple(_linear_cost(config, backbone.dims(layer)) for layer in model.skim_layers),
        block_size=config.block_size,
        alignment=config.alignment,
        inputs=config.inputs,
        predictor_width=config.predictor_width,
        encoder=encoder_settings(model.config.encoder_config.to_dict()),
        embeddings=_embeddings_name(model),
    )


def _vocabulary(model: BlockSkimForQuestionAnswering) -> int:
    embeddings: Any = model.encoder.get_input_embeddings()
    return int(embeddings.weight.shape[0])


def _embeddings_name(model: BlockSkimForQuestionAnswering) -> str:
    embeddings: Any = model.encoder.get_input_embeddings()
    return next(name for name, weight in model.named_parameters() if weight is embeddings.weight)


def _linear_cost(config: SkimConfig, dims: LayerDims) -> LinearCost:
    """The cost of a predictor as a linear function of the tokens of the question."""
    none, one, two = (predictor_cost(config, dims, tokens) for tokens in range(3))
    assert two.block - one.block == one.block - none.block and two.sample - one.sample == one.sample - none.sample
    return LinearCost((none.block, one.block - none.block), (none.sample, one.sample - none.sample))
