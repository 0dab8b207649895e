import dataclasses

import pytest
import torch

from blockskim.method.layer_view import TokenBags, attention_of, token_bags
from layer_scenes import Scene


def test_bags_are_the_tokens_of_blocks_and_then_of_questions():
    scene = Scene()
    bags = token_bags(scene.view)
    sets = [list(range(start, start + length)) for start, length in scene.blocks] + scene.questions
    found = [part.tolist() for part in bags.tokens.tensor_split(bags.offsets[1:])]
    assert found == sets


def test_bags_that_were_made_before_are_taken():
    bags = TokenBags(torch.tensor([3]), torch.tensor([0]))
    assert token_bags(dataclasses.replace(Scene().view, bags=bags)) is bags


def test_a_view_without_attention_says_so():
    view = Scene().view
    assert attention_of(view) is view.attention
    with pytest.raises(ValueError, match="looks at attention"):
        attention_of(dataclasses.replace(view, attention=None))
