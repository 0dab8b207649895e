"""DeBERTa v2 and v3: BERT's layers, whose scores also compare content with relative position, both ways."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from blockskim.encoders import bert
from blockskim.encoders.adapter import RelativeAttention, split_heads
from blockskim.encoders.post_norm import post_norm_adapter
from blockskim.errors import ModelError


def check(config: PreTrainedConfig) -> None:
    """Refuse models with a convolution beside the first layer, as DeBERTa-v2-xlarge has it."""
    size = getattr(config, "conv_kernel_size", 0)
    # Of null transformers can't make a model either.
    if size is None or size > 0:
        raise ModelError(
            f"conv_kernel_size is {size}: DeBERTa models with a convolution over neighbouring tokens are not "
            "supported, since tokens that are dropped would be missing in it; those without one are (v3, for example)"
        )


def bucket_ids(encoder: PreTrainedModel, rows: Tensor, columns: Tensor) -> Tensor:
    """The bucket of each pair's distance: its own for near tokens, by the distance's logarithm for far ones."""
    model: Any = encoder
    distances = rows[..., :, None] - columns[..., None, :]
    buckets, limit = model.encoder.position_buckets, model.encoder.max_relative_positions
    if buckets > 0 and limit > 0:
        distances = _log_buckets(distances, buckets, limit)
    count = bucket_count(encoder)
    return (distances + count // 2).clamp(0, count - 1)


def _log_buckets(distances: Tensor, buckets: int, limit: int) -> Tensor:
    """Near distances as they are, far ones by their logarithm.

    In float32 by name: transformers takes PyTorch's default format, which is another while a model is loaded in another
    thread.
    """
    near = buckets // 2
    far = distances.abs().clamp_min(near).float()
    span = torch.log(torch.tensor((limit - 1) / near, dtype=torch.float32, device=distances.device))
    logarithmic = torch.ceil(torch.log(far / near) / span * (near - 1)).long() + near
    return torch.where(distances.abs() <= near, distances, logarithmic * distances.sign())


def bucket_count(encoder: PreTrainedModel) -> int:
    """How many buckets there are, each with an embedding."""
    model: Any = encoder
    return int(model.encoder.rel_embeddings.num_embeddings)


def relative_linears(layer: nn.Module) -> tuple[nn.Linear | None, nn.Linear | None]:
    """What makes keys and what makes queries of the embeddings of distances; None for a term that isn't there."""
    part: Any = layer
    attention = part.attention.self
    kinds = attention.pos_att_type if attention.relative_attention else ()
    shared = attention.share_att_key
    keys = (attention.key_proj if shared else attention.pos_key_proj) if "c2p" in kinds else None
    queries = (attention.query_proj if shared else attention.pos_query_proj) if "p2c" in kinds else None
    return keys, queries


def project_distances(encoder: PreTrainedModel, layer: nn.Module) -> tuple[Tensor | None, Tensor | None]:
    """Keys and queries of all distances."""
    model: Any = encoder
    part: Any = layer
    attention = part.attention.self
    if not attention.relative_attention:
        return None, None
    table = model.encoder.rel_embeddings
    # Looked up and not the weight itself: a parameter as a module's input breaks counters of FLOPs in inference mode.
    embeddings = table(torch.arange(table.num_embeddings, device=table.weight.device))
    if "layer_norm" in model.encoder.norm_rel_ebd:
        embeddings = model.encoder.LayerNorm(embeddings)
    embeddings = attention.pos_dropout(embeddings)
    keys, queries = (
        None if linear is None else split_heads(linear(embeddings), attention.attention_head_size)
        for linear in relative_linears(layer)
    )
    return keys, queries


def terms(layer: nn.Module) -> int:
    """How many terms the scores are the sum of: queries times keys, and those with relative positions."""
    part: Any = layer
    return 1 + sum(kind in part.attention.self.pos_att_type for kind in ("c2p", "p2c"))


ADAPTER = post_norm_adapter(
    model_types=("deberta-v2",),
    paths=replace(
        bert.PATHS,
        query="attention.self.query_proj",
        key="attention.self.key_proj",
        value="attention.self.value_proj",
    ),
    # Where embeddings are narrower than the layers.
    embedding_linear="embeddings.embed_proj",
    terms=terms,
    relative=RelativeAttention(bucket_ids, bucket_count, relative_linears, project_distances),
    check=check,
)
