"""Tiny encoders on disk, to be trained on the synthetic task."""

from tiny_models import new_dense_model
from tiny_tokenizers import word_piece


def save_encoder(folder, answers=False, seed=0, tokenizer=None, **changes):
    """Directory of a tiny BERT with its tokenizer, with a QA head if it ``answers``."""
    tokenizer = tokenizer or word_piece()
    settings = {"vocab_size": len(tokenizer), "initializer_range": 0.05, **changes}
    model = new_dense_model("bert", seed, **settings)
    (model if answers else model.base_model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
