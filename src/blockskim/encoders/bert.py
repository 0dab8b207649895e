"""BERT and the families that share its layers: RoBERTa, XLM-RoBERTa, CamemBERT and ELECTRA."""

from blockskim.encoders.post_norm import PostNormPaths, check_positions, post_norm_adapter

PATHS = PostNormPaths(
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    output="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    up="intermediate.dense",
    activation="intermediate.intermediate_act_fn",
    down="output.dense",
    output_norm="output.LayerNorm",
    head_dim="attention.self.attention_head_size",
    attention_dropout="attention.self.dropout",
    output_dropout="attention.output.dropout",
    down_dropout="output.dropout",
)

ADAPTER = post_norm_adapter(
    model_types=("bert", "roberta", "xlm-roberta", "camembert", "electra"),
    paths=PATHS,
    # ELECTRA's alone, where embeddings are narrower than the layers.
    embedding_projection="embeddings_project",
    check=check_positions,
)
