import pytest

from blockskim.encoders.position_table import first_position, position_limit
from tiny_models import FAMILIES, new_dense_model


@pytest.mark.parametrize("family", FAMILIES)
def test_positions_begin_and_end_where_those_of_transformers_do(family):
    encoder = new_dense_model(family).base_model
    limit, first = position_limit(encoder), first_position(encoder)
    if limit is None:
        # Rotary or relative positions have no end.
        assert family.startswith(("modernbert", "deberta"))
        return
    assert limit + first == encoder.config.max_position_embeddings
    # RoBERTa's and MPNet's tables have rows for the padding id and what is before it.
    assert first == (encoder.config.pad_token_id + 1 if "roberta" in family or family in ("camembert", "mpnet") else 0)
