"""What the parts of a model cost, read off its linear layers; ``method/cost.py`` says what is counted."""

from collections.abc import Iterable, Sequence

from torch import nn
from transformers import PreTrainedModel

from blockskim.data.packed_inputs import PackedInputs
from blockskim.encoders import EncoderAdapter
from blockskim.encoders.backbone import Backbone
from blockskim.method.config import SkimConfig
from blockskim.method.cost import LayerCost, ModelCost, PredictorCost
from blockskim.method.predictors.predictor import predictor_cost


def linears_in(modules: Iterable[nn.Module | None]) -> list[nn.Linear]:
    """The linear layers in some modules."""
    inside = (part for module in modules if module is not None for part in module.modules())
    return [part for part in inside if isinstance(part, nn.Linear)]


def linear_flops(linears: Sequence[nn.Linear]) -> int:
    """Operations of linear layers per token."""
    return sum(2 * linear.in_features * linear.out_features for linear in linears)


def model_cost(encoder: PreTrainedModel, adapter: EncoderAdapter, head: Sequence[nn.Linear]) -> ModelCost:
    """Read the costs off an encoder's layers and the linear layers of its QA head."""
    layers = []
    for layer in adapter.layers(encoder):
        before, after = adapter.linears(layer)
        dims = adapter.dims(layer)
        attended = dims.heads * dims.head_dim
        relative = adapter.relative
        terms = [] if relative is None else [part for part in relative.linears(layer) if part is not None]
        buckets = relative.bucket_count(encoder) if relative is not None and terms else 0
        layers.append(
            LayerCost(
                linear_flops(before) + len(terms) * buckets * 2 * attended,
                4 * attended,
                linear_flops(after),
                buckets * linear_flops(terms),
            )
        )
    return ModelCost(tuple(layers), linear_flops(adapter.embedding_linears(encoder)), linear_flops(head))


def predictor_costs(
    config: SkimConfig, backbone: Backbone, layers: Sequence[int], inputs: PackedInputs
) -> dict[int, list[PredictorCost]]:
    """What each predictor costs on each sample, by layer number.

    Args:
        config: what the predictors were built for.
        backbone: whose layers they look at.
        layers: numbers of the layers with a predictor.
        inputs: the samples.
    """
    questions = inputs.question_exists.sum(-1).tolist()
    costs = {}
    for number in layers:
        dims = backbone.dims(number)
        by_length = {count: predictor_cost(config, dims, count) for count in set(questions)}
        costs[number] = [by_length[count] for count in questions]
    return costs
