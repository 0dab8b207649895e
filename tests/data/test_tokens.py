"""Reading with a copy of a tokenizer: the caller's own is never changed, and what becomes of it makes no difference."""

import pickle
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from tokenizers import pre_tokenizers

from blockskim.data.examples import Example
from blockskim.data.tokens import freeze_tokenizer, pair_template, tokenize
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.errors import ConfigError
from tiny_tokenizers import KINDS, fixed_tokenizer, tokenizer

every_kind = pytest.mark.parametrize("kind", KINDS)
TEXTS = ["the red kite nests in wales", "", "who eats a worm ? [SEP] 2024"]


def same(found, wanted):
    return all(np.array_equal(getattr(found, name), getattr(wanted, name)) for name in ("ids", "offsets", "bounds"))


def change(own):
    """What a caller may do with its tokenizer."""
    own.backend_tokenizer.enable_truncation(4, stride=1)
    own.backend_tokenizer.enable_padding(length=9)


@every_kind
def test_texts_are_read_as_the_tokenizer_reads_them(kind):
    own = tokenizer(kind)
    found = tokenize(freeze_tokenizer(own), TEXTS)
    for number, text in enumerate(TEXTS):
        wanted = own(text, add_special_tokens=False, return_offsets_mapping=True)
        assert found.ids_of(number).tolist() == wanted["input_ids"]
        assert [tuple(pair) for pair in found.offsets_of(number).tolist()] == wanted["offset_mapping"]


@every_kind
def test_settings_of_the_callers_tokenizer_neither_count_nor_change(kind):
    own, wanted = tokenizer(kind), fixed_tokenizer(kind)
    change(own)
    before = own.backend_tokenizer.truncation, own.backend_tokenizer.padding
    assert pair_template(own) == pair_template(wanted)
    frozen = freeze_tokenizer(own)
    assert frozen.template == pair_template(wanted) == pair_template(frozen)
    assert same(tokenize(frozen, TEXTS), tokenize(freeze_tokenizer(wanted), TEXTS))
    windows = make_windows([Example("1", TEXTS[2], TEXTS[0])], own, WindowSettings(200, 2, 60))
    assert windows[0]["input_ids"].tolist() == wanted(TEXTS[2], TEXTS[0])["input_ids"]
    assert (own.backend_tokenizer.truncation, own.backend_tokenizer.padding) == before


@every_kind
def test_a_frozen_tokenizer_stays_as_it_was(kind):
    own = tokenizer(kind)
    frozen = freeze_tokenizer(own)
    wanted, definition = tokenize(frozen, TEXTS), frozen.backend.to_str()
    change(own)
    own.add_tokens(["red kite", "nests"])
    own.backend_tokenizer.normalizer = None
    own.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    own(TEXTS, split_special_tokens=True, padding=True)
    assert same(tokenize(frozen, TEXTS), wanted)
    assert frozen.backend.to_str() == definition
    assert freeze_tokenizer(frozen) is frozen
    assert same(tokenize(pickle.loads(pickle.dumps(frozen)), TEXTS), wanted)


def test_an_earlier_call_of_the_tokenizer_makes_no_difference():
    own = tokenizer("wordpiece")
    wanted = tokenize(freeze_tokenizer(own), TEXTS)
    own("a [SEP]", split_special_tokens=True)
    assert own.backend_tokenizer.encode_special_tokens
    assert same(tokenize(freeze_tokenizer(own), TEXTS), wanted)


def test_a_tokenizer_that_splits_special_tokens_does_so_in_the_copy():
    own = tokenizer("wordpiece")
    own.split_special_tokens = True
    found = tokenize(freeze_tokenizer(own), TEXTS[2:])
    assert found.ids.tolist() == own(TEXTS[2], add_special_tokens=False)["input_ids"]
    assert len(found.ids) > len(tokenize(freeze_tokenizer(tokenizer("wordpiece")), TEXTS[2:]).ids)


def test_tokenizers_that_cannot_be_copied_are_refused():
    class Unwilling:
        def __deepcopy__(self, memo):
            raise Exception("Custom PreTokenizer cannot be serialized")

    own = SimpleNamespace(is_fast=True, pad_token_id=0, backend_tokenizer=Unwilling())
    with pytest.raises(ConfigError, match="SimpleNamespace can't be copied: Custom PreTokenizer cannot be serialized"):
        freeze_tokenizer(own)


def test_a_caller_that_cuts_in_another_thread_changes_nothing():
    own, wanted = tokenizer("wordpiece"), fixed_tokenizer("wordpiece")
    texts = ["the red kite nests in wales " * 20] * 4
    stop = threading.Event()

    def cut():
        while not stop.is_set():
            own.backend_tokenizer.enable_truncation(3)
            own.backend_tokenizer.enable_padding(length=7)
            own.backend_tokenizer.no_truncation()
            own.backend_tokenizer.no_padding()

    thread = threading.Thread(target=cut, daemon=True)
    thread.start()
    try:
        template, read = pair_template(wanted), tokenize(freeze_tokenizer(wanted), texts)
        for _ in range(30):
            assert pair_template(own) == template
            frozen = freeze_tokenizer(own)
            assert frozen.template == template
            assert same(tokenize(frozen, texts), read)
    finally:
        stop.set()
        thread.join()
