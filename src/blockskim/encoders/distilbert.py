"""DistilBERT: BERT's layers under other names, without token types."""

from blockskim.encoders.post_norm import PostNormPaths, post_norm_adapter

ADAPTER = post_norm_adapter(
    model_types=("distilbert",),
    layers="transformer.layer",
    token_types=False,
    paths=PostNormPaths(
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        output="attention.out_lin",
        attention_norm="sa_layer_norm",
        up="ffn.lin1",
        activation="ffn.activation",
        down="ffn.lin2",
        output_norm="output_layer_norm",
        head_dim="attention.attention_head_size",
        attention_dropout="attention.dropout",
        down_dropout="ffn.dropout",
    ),
)
