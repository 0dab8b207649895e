import copy
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForQuestionAnswering

from blockskim.encoders import supported_types
from blockskim.errors import ConfigError, ModelError
from blockskim.method.blocks import soften_labels
from blockskim.method.config import INPUTS, SkimConfig
from blockskim.method.losses import block_loss, teaching_loss
from blockskim.model.config import BlockSkimConfig
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from strategies import every_alignment, every_combination, every_family, every_input, few, seeds
from tiny_models import (
    dense_model,
    encoder_config,
    make_batch,
    new_dense_model,
    new_skim_model,
    skim_model,
)

SIZES = [(4, 30), (2, 41), (6, 12), (3, 0)]


def same(one, other, batch, **skimming):
    """Whether two models give the very same outputs, dense and skimming."""
    for run in (lambda model: model(**batch.inputs), lambda model: model.skim(**batch.inputs, **skimming)):
        found, expected = run(one), run(other)
        assert torch.equal(found.start_logits, expected.start_logits)
        assert torch.equal(found.end_logits, expected.end_logits)
    assert np.array_equal(one.skim(**batch.inputs).trace.kept, other.skim(**batch.inputs).trace.kept)


@every_combination
def test_saving_and_loading_changes_no_output(family, inputs, alignment, tmp_path):
    model = skim_model(family, inputs, alignment)
    model.save_pretrained(tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]
    loaded = BlockSkimForQuestionAnswering.from_pretrained(tmp_path)
    assert loaded.skim_config == model.skim_config
    assert not loaded.training
    same(loaded, model, make_batch(family, SIZES), thresholds=[0.5, 0.4])


@pytest.mark.parametrize("thresholds", [0.5, (0.25, 0.75), 0.0])
def test_thresholds_set_after_construction_are_saved(thresholds, tmp_path):
    model = new_skim_model("bert")
    model.skim_config = model.skim_config.replace(thresholds=thresholds, skim_factor=0.3, balance_factor=30.0)
    model.save_pretrained(tmp_path)
    loaded = BlockSkimForQuestionAnswering.from_pretrained(tmp_path)
    assert loaded.skim_config == model.skim_config
    assert loaded.thresholds == model.thresholds
    same(loaded, model, make_batch("bert", SIZES))
    # And once more, from the loaded one.
    loaded.skim_config = loaded.skim_config.replace(thresholds=0.9)
    loaded.save_pretrained(tmp_path / "again")
    assert BlockSkimForQuestionAnswering.from_pretrained(tmp_path / "again").thresholds == (0.9, 0.9)


def test_auto_model_for_question_answering_loads_it(tmp_path):
    model = skim_model("roberta", ("question",), "context")
    model.save_pretrained(tmp_path)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), BlockSkimConfig)
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path)
    assert isinstance(loaded, BlockSkimForQuestionAnswering)
    same(loaded, model, make_batch("roberta", SIZES), thresholds=0.5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_model_loads_in_another_dtype(dtype, tmp_path):
    model = skim_model("bert", INPUTS, "context")
    model.save_pretrained(tmp_path)
    loaded = BlockSkimForQuestionAnswering.from_pretrained(tmp_path, dtype=dtype)
    assert {value.dtype for value in loaded.parameters()} == {dtype}
    batch = make_batch("bert", SIZES)
    found = loaded.skim(**batch.inputs, thresholds=0.0, score_all_layers=True)
    expected = model.skim(**batch.inputs, thresholds=0.0, score_all_layers=True)
    tolerance = 0.1 if dtype == torch.bfloat16 else 1e-4
    real = batch.real
    torch.testing.assert_close(
        found.start_logits[real], expected.start_logits[real], atol=tolerance, rtol=0, check_dtype=False
    )
    assert loaded(**batch.inputs).start_logits.dtype == dtype


@every_family
def test_a_model_in_bfloat16_skims_and_trains(family):
    model = copy.deepcopy(skim_model(family, INPUTS, "context")).to(torch.bfloat16)
    batch = make_batch(family, SIZES)
    kept = model.skim(**batch.inputs, thresholds=0.5).start_logits.isfinite()
    assert bool(kept[batch.real & ~batch.context].all())
    positions = torch.tensor([8, 9, 10, 0])
    model.train()
    model(**batch.inputs, start_positions=positions, end_positions=positions).loss.backward()
    assert all(value.grad.isfinite().all() for value in model.parameters() if value.grad is not None)


def test_skim_settings_stand_in_the_saved_config(tmp_path):
    skim_model("bert").save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["model_type"] == "blockskim"
    assert stored["encoder_config"]["model_type"] == "bert"
    assert SkimConfig.from_dict(stored["skim"]) == skim_model("bert").skim_config


@pytest.mark.parametrize(("name", "value"), [("block_size", 31), ("thresholds", 7), ("blocksize", 32)])
def test_a_saved_config_with_impossible_settings_is_refused(name, value, tmp_path):
    skim_model("bert").save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    stored = json.loads(path.read_text())
    stored["skim"][name] = value
    path.write_text(json.dumps(stored))
    with pytest.raises(ModelError, match=str(value) if name != "blocksize" else name):
        BlockSkimForQuestionAnswering.from_pretrained(tmp_path)


@every_family
@pytest.mark.parametrize("with_head", [True, False])
def test_from_backbone_reads_a_directory_a_model_and_an_encoder(family, with_head, tmp_path):
    dense = dense_model(family)
    source = dense if with_head else dense.base_model
    source.save_pretrained(tmp_path)
    batch = make_batch(family, SIZES)
    expected = dense(**batch.without_context())
    for backbone in (source, tmp_path, str(tmp_path)):
        model = BlockSkimForQuestionAnswering.from_backbone(backbone).eval()
        assert model.skim_config == SkimConfig()
        assert model.skim_layers == (1, 2)
        hidden = model.encoder.state_dict()
        for name, value in dense.base_model.state_dict().items():
            if name in hidden:
                assert torch.equal(hidden[name], value), name
        found = model(**batch.inputs).start_logits[batch.real]
        assert torch.allclose(found, expected.start_logits[batch.real], atol=1e-5) is with_head


def test_from_backbone_takes_an_encoder_with_a_pooling_layer():
    torch.manual_seed(0)
    source = AutoModel.from_config(encoder_config("bert"))
    assert source.pooler is not None
    model = BlockSkimForQuestionAnswering.from_backbone(source)
    assert not any("pooler" in name for name in model.state_dict())


def test_from_backbone_leaves_the_source_alone():
    source = new_dense_model("bert")
    before, config = copy.deepcopy(source.state_dict()), copy.deepcopy(source.config.to_dict())
    model = BlockSkimForQuestionAnswering.from_backbone(source, SkimConfig(block_size=8))
    with torch.no_grad():
        for value in model.parameters():
            value.zero_()
    assert source.config.to_dict() == config
    for name, value in source.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_from_backbone_keeps_the_dtype(tmp_path):
    source = new_dense_model("bert").to(torch.bfloat16)
    model = BlockSkimForQuestionAnswering.from_backbone(source)
    assert {value.dtype for value in model.parameters()} == {torch.bfloat16}
    source.float().save_pretrained(tmp_path)
    model = BlockSkimForQuestionAnswering.from_backbone(tmp_path, dtype=torch.bfloat16)
    assert {value.dtype for value in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("named", [torch.bfloat16, torch.float16, torch.float32])
def test_from_backbone_keeps_weights_whatever_format_the_config_names(named):
    source = new_dense_model("bert")
    for config in (source.config, source.base_model.config):
        config.dtype = named
    encoder = BlockSkimForQuestionAnswering.from_backbone(source).encoder
    weights = source.base_model.state_dict()
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_from_backbone_checks_the_layers():
    with pytest.raises(ConfigError, match="3 layers"):
        BlockSkimForQuestionAnswering.from_backbone(dense_model("bert"), SkimConfig(layers=(1, 3)))
    with pytest.raises(ConfigError, match="3 thresholds for 2 layers"):
        BlockSkimForQuestionAnswering.from_backbone(dense_model("bert"), SkimConfig(thresholds=(0.1, 0.2, 0.3)))
    model = BlockSkimForQuestionAnswering.from_backbone(dense_model("bert"), SkimConfig(layers=(2,), thresholds=[0.3]))
    assert model.skim_layers == (2,)
    assert list(model.predictors) == ["2"]


def test_no_predictor_on_the_last_layer():
    model = BlockSkimForQuestionAnswering.from_backbone(new_dense_model("bert", num_hidden_layers=5))
    assert list(model.predictors) == ["1", "2", "3", "4"]


def test_an_unsupported_family_is_refused_with_those_that_are(tmp_path):
    config = AutoConfig.for_model(
        "roformer", vocab_size=30, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2
    )
    source = AutoModelForQuestionAnswering.from_config(config)
    source.save_pretrained(tmp_path)
    for backbone in (source, tmp_path):
        with pytest.raises(ModelError, match="'roformer'") as caught:
            BlockSkimForQuestionAnswering.from_backbone(backbone)
        assert all(name in str(caught.value) for name in supported_types())


def pickled(folder):
    dense_model("bert").save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"never read")


@pytest.mark.parametrize("load", ["from_backbone", "from_pretrained"])
def test_pickle_files_are_refused(load, tmp_path):
    pickled(tmp_path)
    with pytest.raises(ModelError, match=r"pytorch_model\.bin, a pickle file.*safetensors"):
        getattr(BlockSkimForQuestionAnswering, load)(tmp_path)


@pytest.mark.parametrize("load", ["from_backbone", "from_pretrained"])
def test_directories_that_are_no_model_are_refused(load, tmp_path):
    loader = getattr(BlockSkimForQuestionAnswering, load)
    missing = tmp_path / "missing"
    with pytest.raises(ModelError, match="missing: no such model directory"):
        loader(missing)
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(ModelError, match="is a file"):
        loader(file)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelError, match=r"no config\.json"):
        loader(empty)
    (empty / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="no weights"):
        loader(empty)


@pytest.mark.parametrize("load", ["from_backbone", "from_pretrained"])
def test_a_hub_id_that_is_not_there_is_a_model_error(load):
    with pytest.raises(ModelError, match="nobody/nothing"):
        getattr(BlockSkimForQuestionAnswering, load)("nobody/nothing")


def test_a_plain_checkpoint_is_no_block_skim_model(tmp_path):
    # transformers would fill in random weights with no more than a warning.
    dense_model("bert").save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="from_backbone"):
        BlockSkimForQuestionAnswering.from_pretrained(tmp_path)


def test_a_checkpoint_without_an_encoder_weight_is_refused():
    source = new_dense_model("bert")
    state = source.base_model.state_dict
    source.base_model.state_dict = lambda: {
        name: value for name, value in state().items() if name != "encoder.layer.1.output.dense.weight"
    }
    with pytest.raises(ModelError, match=r"encoder\.layer\.1\.output\.dense\.weight"):
        BlockSkimForQuestionAnswering.from_backbone(source)


def test_a_saved_model_that_lost_its_predictors_is_not_filled_in_silently(tmp_path):
    skim_model("bert").save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("predictors.2")}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"predictors in layers 1, 2, but the weights hold those of layers 1$"):
        BlockSkimForQuestionAnswering.from_pretrained(tmp_path)


def test_thresholds_can_change_at_any_time():
    model = new_skim_model("bert", alignment="context")
    batch = make_batch("bert", SIZES)
    assert model.skim_config.thresholds == 0.0
    assert model.skim(**batch.inputs).trace.layers == ()
    kept = []
    for thresholds in (0.001, 0.999, (0.9, 0.3), 0.001):
        model.skim_config = model.skim_config.replace(thresholds=thresholds)
        found = model.skim(**batch.inputs)
        expected = skim_model("bert", ("tiles",), "context").skim(**batch.inputs, thresholds=thresholds)
        assert torch.equal(found.start_logits, expected.start_logits)
        kept.append(int(found.start_logits.isfinite().sum()))
    assert kept[0] == kept[3] > kept[1]


every_built_setting = pytest.mark.parametrize(
    ("name", "value"),
    [
        ("block_size", 16),
        ("alignment", "context"),
        ("inputs", ("question",)),
        ("layers", (1,)),
        ("predictor_width", 32),
    ],
)


def test_thresholds_in_place_count_too():
    model = new_skim_model("bert")
    model.skim_config.thresholds = 0.75
    assert model.thresholds == (0.75, 0.75)
    model.skim_config.thresholds = 1.5
    with pytest.raises(ConfigError, match=r"1\.5"):
        model.skim(**make_batch("bert", SIZES).inputs)


@every_built_setting
def test_what_predictors_were_built_for_can_not_change(name, value):
    model = new_skim_model("bert")
    before = model.skim_config
    with pytest.raises(ModelError, match=name):
        model.skim_config = before.replace(**{name: value})
    assert model.skim_config is before


@every_built_setting
def test_what_predictors_were_built_for_can_not_change_in_place(name, value):
    model = new_skim_model("bert")
    batch = make_batch("bert", SIZES)
    before, expected = copy.deepcopy(model.skim_config), model.skim(**batch.inputs, thresholds=0.5)
    for settings in (model.skim_config, model.config.skim, copy.deepcopy(model).skim_config):
        with pytest.raises(ConfigError, match=f"{name} can't change from .* in place"):
            setattr(settings, name, value)
    with pytest.raises(ConfigError, match=f"{name} can't change from"):
        model.config.skim = before.replace(**{name: value})
    assert model.skim_config == before
    assert torch.equal(model.skim(**batch.inputs, thresholds=0.5).start_logits, expected.start_logits)


def test_the_config_holds_the_settings_and_nobody_else_does(tmp_path):
    settings = SkimConfig(block_size=8, points={"fast": 0.5})
    model = BlockSkimForQuestionAnswering.from_backbone(dense_model("bert"), settings)
    assert model.skim_config is model.config.skim
    settings.thresholds, settings.points["fast"] = 0.9, 0.9
    assert model.skim_config == SkimConfig(block_size=8, points={"fast": 0.5})
    model.skim_config = settings
    settings.thresholds = 0.1
    assert model.skim_config.thresholds == 0.9
    # What is saved is what is there, without anything done for it.
    model.config.skim.points["slow"] = 0.25
    model.skim_config.thresholds = (0.125, 0.25)
    model.config.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())["skim"]
    assert (stored["thresholds"], stored["points"]) == ([0.125, 0.25], {"fast": 0.9, "slow": 0.25})
    other = copy.deepcopy(model)
    other.skim_config.thresholds = 0.75
    assert model.thresholds == (0.125, 0.25)


def test_thresholds_by_layer():
    model = new_skim_model("bert", thresholds=(0.25, 0.5))
    assert model.thresholds_by_layer() == {1: 0.25, 2: 0.5}
    assert model.thresholds_by_layer(0.75) == {1: 0.75, 2: 0.75}
    assert model.thresholds_by_layer([0, 1]) == {1: 0.0, 2: 1.0}
    with pytest.raises(ConfigError, match="3 thresholds for 2 layers"):
        model.thresholds_by_layer([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("own", "asking"),
    [(0.0, {"thresholds": 0.5}), (0.0, {"thresholds": (0.0, 0.1)}), (0.0, {"score_all_layers": True}), (0.5, {})],
)
def test_predictors_that_were_never_trained_are_asked_only_where_that_is_wanted(own, asking):
    settings = SkimConfig(block_size=8, thresholds=own)
    model = BlockSkimForQuestionAnswering.from_backbone(dense_model("bert"), settings).eval()
    assert not model.has_trained_predictors
    batch = make_batch("bert", SIZES)
    assert model.skim(**batch.inputs, thresholds=0.0).trace.layers == ()
    with pytest.raises(ConfigError, match=r"never trained.*blockskim train.*allow_untrained=True"):
        model.skim(**batch.inputs, **asking)
    found = model.skim(**batch.inputs, **asking, allow_untrained=True)
    model.has_trained_predictors = True
    assert torch.equal(model.skim(**batch.inputs, **asking).start_logits, found.start_logits)


@pytest.mark.parametrize("trained", [True, False])
def test_whether_predictors_are_trained_is_saved_with_them(trained, tmp_path):
    model = new_skim_model("bert")
    model.has_trained_predictors = trained
    model.prune_heads({1: [2]})
    model.save_pretrained(tmp_path)
    loaded = BlockSkimForQuestionAnswering.from_pretrained(tmp_path)
    assert loaded.has_trained_predictors is trained
    assert copy.deepcopy(loaded).has_trained_predictors is trained
    # New predictors have learned nothing, whatever those before them had.
    assert not BlockSkimForQuestionAnswering.from_backbone(loaded, loaded.skim_config).has_trained_predictors


def test_thresholds_must_match_the_predictors_when_set():
    model = new_skim_model("bert")
    with pytest.raises(ConfigError, match="3 thresholds for 2 layers"):
        model.skim_config = model.skim_config.replace(thresholds=(0.1, 0.2, 0.3))


def test_layers_named_or_not_are_the_same():
    model = new_skim_model("bert")
    model.skim_config = model.skim_config.replace(layers=(1, 2))
    assert model.skim_layers == (1, 2)


def test_skim_is_for_evaluation_mode():
    model = new_skim_model("bert").train()
    with pytest.raises(ModelError, match="eval"):
        model.skim(**make_batch("bert", SIZES).inputs)


@every_input
@every_alignment
@few
@given(seeds)
def test_loss_is_the_qa_loss_and_the_weighted_skim_losses(inputs, alignment, seed):
    model = skim_model("bert", inputs, alignment)
    batch = make_batch("bert", [(4, 44), (2, 41), (6, 32)], seed)
    positions = [torch.tensor([[20, 8], [30, -1], [0, -1]]), torch.tensor([[22, 9], [30, -1], [0, -1]])]
    output = model(**batch.inputs, start_positions=positions[0], end_positions=positions[1])
    layout = model.layout(*batch.masks)
    labels = torch.full(layout.droppable.shape, -100)
    for row, spans in enumerate(([(20, 22), (8, 9)], [(30, 30)], [(0, 0)])):
        for block in range(labels.shape[1]):
            if layout.droppable[row, block]:
                first, length = int(layout.starts[row, block]), int(layout.lengths[row, block])
                tokens = set(range(first, first + length))
                labels[row, block] = int(any(tokens & set(range(start, end + 1)) for start, end in spans))
    assert torch.equal(output.skim_labels, labels)
    expected = sum(block_loss(output.skim_logits[:, layer].flatten(0, 1), labels.flatten(), 20.0) for layer in range(2))
    torch.testing.assert_close(output.skim_loss, expected)
    torch.testing.assert_close(output.loss, output.qa_loss + 0.1 * expected)
    # The QA loss is about the first annotated answer.
    entropy = 0
    for logits, places in ((output.start_logits, (20, 30, 0)), (output.end_logits, (22, 30, 0))):
        for row, place in enumerate(places):
            entropy -= float(logits[row, batch.real[row]].log_softmax(-1)[place].detach()) / 6
    assert float(output.qa_loss.detach()) == pytest.approx(entropy, abs=1e-5)


def test_loss_weights_can_change_at_any_time():
    model = new_skim_model("bert", alignment="context")
    batch = make_batch("bert", SIZES)
    positions = torch.tensor([8, 9, 10, 0])

    def outputs():
        return model(**batch.inputs, start_positions=positions, end_positions=positions)

    before = outputs()
    model.skim_config = model.skim_config.replace(skim_factor=0.0)
    assert torch.equal(outputs().loss, before.qa_loss)
    model.skim_config = model.skim_config.replace(skim_factor=0.5, balance_factor=1.0)
    after = outputs()
    assert not torch.allclose(after.skim_loss, before.skim_loss)
    torch.testing.assert_close(after.loss, after.qa_loss + 0.5 * after.skim_loss)


def test_a_skim_factor_a_layer_weighs_each_layers_part():
    model = new_skim_model("bert", alignment="context")
    batch = make_batch("bert", SIZES)
    positions = torch.tensor([8, 9, 10, 0])
    model.skim_config = model.skim_config.replace(skim_factor=(0.5, 2.0), neighbor_relevance=0.3)
    output = model(**batch.inputs, start_positions=positions, end_positions=positions)
    labels = soften_labels(output.skim_labels, 0.3).flatten()
    parts = [block_loss(output.skim_logits[:, layer].flatten(0, 1), labels, 20.0) for layer in range(2)]
    torch.testing.assert_close(output.skim_loss, parts[0] + parts[1])
    torch.testing.assert_close(output.loss, output.qa_loss + 0.5 * parts[0] + 2.0 * parts[1])
    with pytest.raises(ConfigError, match="3 skim_factor for 2 layers"):
        model.skim_config = model.skim_config.replace(skim_factor=(0.5, 2.0, 1.0))


@pytest.mark.parametrize("thresholds", [None, 0.6])
def test_the_last_predictor_teaches_those_before_it(thresholds):
    model = new_skim_model("bert", ("attended",), "context")
    model.skim_config = model.skim_config.replace(teaching_factor=0.7, skim_factor=0.0)
    batch = make_batch("bert", SIZES)
    positions = torch.tensor([8, 9, 10, 0])
    output = model(**batch.inputs, start_positions=positions, end_positions=positions, thresholds=thresholds)
    seen = ~output.skim_logits[:, 1].isnan().any(-1)
    expected = teaching_loss(output.skim_logits[:, 0][seen], output.skim_logits[:, 1][seen])
    torch.testing.assert_close(output.teaching_loss, expected)
    torch.testing.assert_close(output.loss, output.qa_loss + 0.7 * expected)
    output.teaching_loss.backward()
    first, last = model.predictors.values()
    assert all(bool(value.grad.any()) for value in first.parameters())
    assert all(value.grad is None for value in last.parameters())


def test_dropping_in_the_dense_pass_needs_the_context():
    batch = make_batch("bert", SIZES)
    with pytest.raises(ModelError, match="context_mask"):
        skim_model("bert")(**batch.without_context(), thresholds=0.5)


def test_given_labels_are_used_and_those_of_blocks_that_are_not_judged_ignored():
    model = skim_model("bert", ("tiles",), "sequence")
    batch = make_batch("bert", SIZES, padding=8)
    layout = model.layout(*batch.masks)
    labels = torch.zeros(layout.droppable.shape, dtype=torch.long)
    output = model(**batch.inputs, skim_labels=labels)
    assert output.qa_loss is None
    assert torch.equal(output.skim_labels, torch.where(layout.droppable, 0, -100))
    torch.testing.assert_close(output.loss, 0.1 * output.skim_loss)
    ones = labels.masked_fill(~layout.droppable, 1)
    assert torch.equal(model(**batch.inputs, skim_labels=ones).skim_loss, output.skim_loss)


def test_labels_of_the_wrong_shape_are_refused():
    with pytest.raises(ModelError, match=r"\(4, 3\).*\(4, 6\).*8 tokens"):
        skim_model("bert")(**make_batch("bert", SIZES, padding=1).inputs, skim_labels=torch.zeros(4, 3).long())


@every_alignment
@pytest.mark.parametrize("left", [False, True])
def test_padding_blocks_never_enter_the_loss(alignment, left):
    model = skim_model("bert", INPUTS, alignment)
    losses = []
    for padding in (0, 8, 50):
        batch = make_batch("bert", SIZES, padding=padding, left=left)
        first = batch.real.long().argmax(-1)
        starts, ends = first + torch.tensor([8, 20, 10, 0]), first + torch.tensor([9, 20, 10, 0])
        losses.append(model(**batch.inputs, start_positions=starts, end_positions=ends))
    for other in losses[1:]:
        torch.testing.assert_close(other.skim_loss, losses[0].skim_loss, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(other.qa_loss, losses[0].qa_loss, atol=1e-5, rtol=1e-4)


def test_a_batch_without_judged_blocks_has_a_skim_loss_of_0():
    model = new_skim_model("bert").train()
    batch = make_batch("bert", [(4, 2), (3, 0)])
    positions = torch.tensor([6, 0])
    output = model(**batch.inputs, start_positions=positions, end_positions=positions)
    assert output.skim_loss.item() == 0.0
    output.loss.backward()
    assert bool(output.skim_logits.isnan().all())


@every_input
def test_same_seed_and_data_give_the_same_training_losses(inputs):
    def losses():
        torch.manual_seed(3)
        model = BlockSkimForQuestionAnswering.from_backbone(
            dense_model("bert"), SkimConfig(block_size=8, inputs=inputs)
        ).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        found = []
        for step in range(4):
            batch = make_batch("bert", SIZES, seed=step)
            positions = torch.tensor([8, 9, 10, 0])
            loss = model(**batch.inputs, start_positions=positions, end_positions=positions).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    first = losses()
    assert first == losses()
    assert all(math.isfinite(loss) for loss in first)


@every_input
def test_training_lowers_both_losses(inputs):
    torch.manual_seed(3)
    model = BlockSkimForQuestionAnswering.from_backbone(
        new_dense_model("bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0),
        SkimConfig(block_size=8, inputs=inputs, skim_factor=1.0),
    ).train()
    batch = make_batch("bert", SIZES)
    positions = torch.tensor([8, 30, 10, 0])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        output = model(**batch.inputs, start_positions=positions, end_positions=positions)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses.append((output.qa_loss.item(), output.skim_loss.item()))
    assert losses[-1][0] < 0.5 * losses[0][0]
    assert losses[-1][1] < 0.7 * losses[0][1]


@pytest.mark.parametrize("value", [None, 1, "yes", [True]])
def test_whether_predictors_are_trained_is_true_or_false(value):
    model = new_skim_model("bert")
    with pytest.raises(ConfigError, match=r"^has_trained_predictors is .*; it must be True or False"):
        model.has_trained_predictors = value


@pytest.mark.parametrize("value", [None, {}, 0.5, "fast"])
def test_skim_settings_are_of_their_kind(value):
    model = new_skim_model("bert")
    with pytest.raises(ConfigError, match=r"^skim_config is .*; it must be a SkimConfig"):
        model.skim_config = value
