"""Reading with a copy of a tokenizer: the caller's own is never changed, and what becomes of it makes no difference."""

import copy
import json
import pickle
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from tokenizers import pre_tokenizers

from blockskim.data.examples import Example
from blockskim.data.tokens import PairTemplate, freeze_tokenizer, pair_template, read_frozen_tokenizer, tokenize
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.errors import ConfigError, ModelError
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


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
@pytest.mark.parametrize("split", [False, True])
def test_a_copy_of_the_copy_splits_special_tokens_as_it_does(copied, split):
    own = tokenizer("wordpiece")
    own.split_special_tokens = split
    frozen = freeze_tokenizer(own)
    other = copied(frozen)
    assert same(tokenize(other, TEXTS), tokenize(frozen, TEXTS))
    assert other.definition() == frozen.definition()
    assert other.template == frozen.template


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


@every_kind
def test_a_stored_tokenizer_reads_as_the_one_it_was_made_of(kind, tmp_path):
    own = tokenizer(kind)
    frozen, path = freeze_tokenizer(own), tmp_path / "tokenizer.json"
    # What is stored may cut and pad, as the caller's own does.
    change(own)
    own.backend_tokenizer.save(str(path))
    template = PairTemplate.from_json(json.loads(json.dumps(frozen.template.to_json())))
    assert template == frozen.template
    found = read_frozen_tokenizer(path, template)
    assert same(tokenize(found, TEXTS), tokenize(frozen, TEXTS))
    settings = WindowSettings(200, 2, 60)
    ours, theirs = (make_windows([Example("1", TEXTS[2], TEXTS[0])], one, settings)[0] for one in (found, frozen))
    assert ours["input_ids"].tolist() == theirs["input_ids"].tolist()


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[]", b"\xff", b'{"version": "1.0", "model": {"type": "Unigram"}}']
)
def test_a_damaged_stored_tokenizer_is_named(content, tmp_path):
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"tokenizer\.json can't be read as a tokenizer: .") as error:
        read_frozen_tokenizer(path, pair_template(fixed_tokenizer("wordpiece")))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"before": None}, "before is None"),
        ({"before": "23"}, "before is '23'"),
        ({"between": [True]}, r"between is \[True\]"),
        ({"after": [-1]}, r"after is \[-1\]"),
        ({"after": [1.5]}, r"after is \[1.5\]"),
        ({"types": [0]}, r"types is \[0\]; it must be two types or none"),
        ({"types": 0}, "types is 0"),
        ({"pad_id": None}, r"pad_id is \[None\]"),
        ({"mask": 4}, "before, between, after, types, pad_id and nothing else"),
    ],
)
def test_a_damaged_stored_template_is_told_of(change, message):
    values = pair_template(fixed_tokenizer("wordpiece")).to_json()
    with pytest.raises(ModelError, match=message):
        PairTemplate.from_json({**values, **change})


@pytest.mark.parametrize("values", [None, [], {}, {"before": []}])
def test_what_is_no_template_is_told_of(values):
    with pytest.raises(ModelError, match="the template is"):
        PairTemplate.from_json(values)
