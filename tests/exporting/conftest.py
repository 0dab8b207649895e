"""Exports that several files of tests share."""

import pytest


@pytest.fixture(scope="session")
def dense():
    """A plain model, whose predictors were never trained, exported."""
    from blockskim.method.config import SkimConfig
    from blockskim.model.modeling import BlockSkimForQuestionAnswering
    from tiny_answerers import dense_for
    from tiny_exports import export_model
    from tiny_tokenizers import fixed_tokenizer

    model = BlockSkimForQuestionAnswering.from_backbone(dense_for("wordpiece"), SkimConfig(block_size=8)).eval()
    return export_model(model, fixed_tokenizer("wordpiece"))
