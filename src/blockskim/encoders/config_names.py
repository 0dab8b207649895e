"""What the families call the same things in their configs and modules."""

LAYER_COUNTS = ("num_hidden_layers", "n_layers", "num_hidden_groups", "inner_group_num")
"""How many layers there are, or groups of them."""

SIZES = (
    *("vocab_size", "hidden_size", "dim", "embedding_size", "intermediate_size", "hidden_dim"),
    *("num_attention_heads", "n_heads", "max_position_embeddings"),
)

EPSILONS = ("layer_norm_eps", "norm_eps")

HIDDEN_DROPOUTS = ("hidden_dropout_prob", "dropout", "embedding_dropout", "mlp_dropout")
"""Dropout on hidden states."""

ATTENTION_DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout")
"""Dropout on attention probabilities."""

HEAD_DROPOUTS = ("classifier_dropout_prob", "qa_dropout", "seq_classif_dropout", "pooler_dropout")
"""Dropout in heads that the library does not use."""

ACTIVATIONS = ("hidden_act", "activation", "hidden_activation", "classifier_activation", "summary_activation")

LAYER_LISTS = {
    "layer": "num_hidden_layers",
    "layers": "num_hidden_layers",
    "albert_layer_groups": "num_hidden_groups",
    "albert_layers": "inner_group_num",
}
"""What lists of layers are called inside of encoders, and the setting that says how long each is."""
