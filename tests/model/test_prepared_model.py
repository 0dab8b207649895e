import copy
import gc
import pickle
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from blockskim.errors import ModelError
from blockskim.kernels import packed_linear
from blockskim.method.config import INPUTS
from blockskim.model import prepared_layers, prepared_model
from skimmed_bert import BATCH, HIDDEN, LAYERS, WIDE, choose, close, dense, ready_of, skimmed, some_linear, states
from strategies import every_family
from tiny_models import make_batch, new_skim_model

every_way = pytest.mark.parametrize("packs", [True, False], ids=["packed", "plain"])


def test_layers_are_made_once_while_nothing_changes():
    model = new_skim_model("bert")
    first = ready_of(model)
    assert ready_of(model) is first
    skimmed(model, thresholds=0.5)
    dense(model)
    model.eval()
    model.skim_config = model.skim_config.replace(thresholds=0.5)
    model.state_dict()
    assert ready_of(model) is first


def gradients(model):
    loss = model(**BATCH.inputs, start_positions=torch.tensor([8, 9, 10]), end_positions=torch.tensor([9, 9, 12])).loss
    model.zero_grad()
    loss.backward()


def change_in_place(model):
    with torch.no_grad():
        some_linear(model).weight.mul_(1.5)


def change_a_bias_in_place(model):
    with torch.no_grad():
        some_linear(model).bias[3] += 2.0


def change_in_place_in_inference_mode(model):
    with torch.inference_mode():
        some_linear(model).weight.mul_(1.5)


def step_of(kind, **arguments):
    def step(model):
        gradients(model)
        kind(model.encoder.parameters(), lr=0.05, **arguments).step()

    step.__name__ = "_".join(["step", kind.__name__, *arguments])
    return step


def load_a_state(model):
    model.load_state_dict({name: value * 1.1 for name, value in model.state_dict().items()})


def assign_a_state(model):
    model.load_state_dict({name: value * 1.1 for name, value in model.state_dict().items()}, assign=True)


def replace_a_weight(model):
    some_linear(model).weight = nn.Parameter(some_linear(model).weight.detach() * 1.5)


def replace_a_bias(model):
    some_linear(model).bias = nn.Parameter(torch.linspace(-2, 2, HIDDEN))


def remove_a_bias(model):
    some_linear(model).bias = None


def change_a_norm_in_place(model):
    with torch.no_grad():
        model.encoder.encoder.layer[1].output.LayerNorm.weight.mul_(1.5)


def replace_the_weight_of_a_norm(model):
    model.encoder.encoder.layer[1].output.LayerNorm.weight = nn.Parameter(torch.linspace(0.5, 2, HIDDEN))


def replace_a_module(model):
    layer = nn.Linear(WIDE, HIDDEN)
    with torch.no_grad():
        layer.weight.copy_(states(HIDDEN, WIDE))
    model.encoder.encoder.layer[1].output.dense = layer


def replace_a_norm(model):
    model.encoder.encoder.layer[1].output.LayerNorm = nn.LayerNorm(HIDDEN, eps=0.5)


def prune_a_weight(model):
    prune.l1_unstructured(some_linear(model), "weight", 0.5)


def normalize_a_weight(model):
    layer = parametrizations.weight_norm(some_linear(model))
    with torch.no_grad():
        layer.parametrizations.weight.original0.mul_(1.5)


def add_a_hook(model):
    some_linear(model).register_forward_hook(lambda module, args, result: 2 * result)


def add_a_hook_before(model):
    some_linear(model).register_forward_pre_hook(lambda module, args: (2 * args[0],))


def replace_forward(model):
    """As accelerate does it to call hooks of its own."""
    linear = some_linear(model)
    inner = linear.forward
    linear.forward = lambda rows: 2 * inner(rows)


def replace_an_activation(model):
    model.encoder.encoder.layer[1].intermediate.intermediate_act_fn = nn.Tanh()


def replace_a_layer(model):
    model.encoder.encoder.layer[1] = copy.deepcopy(model.encoder.encoder.layer[0])


def swap_layers(model):
    layers = model.encoder.encoder.layer
    layers[0], layers[1] = layers[1], layers[0]


CHANGES = [
    change_in_place,
    change_a_bias_in_place,
    change_in_place_in_inference_mode,
    step_of(torch.optim.SGD),
    step_of(torch.optim.SGD, foreach=True),
    step_of(torch.optim.AdamW),
    step_of(torch.optim.AdamW, fused=True),
    load_a_state,
    assign_a_state,
    replace_a_weight,
    replace_a_bias,
    remove_a_bias,
    change_a_norm_in_place,
    replace_the_weight_of_a_norm,
    replace_a_module,
    replace_a_norm,
    replace_an_activation,
    replace_a_layer,
    swap_layers,
    prune_a_weight,
    normalize_a_weight,
    add_a_hook,
    add_a_hook_before,
    replace_forward,
]


@every_way
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_changes_in_the_model_changes_its_skimming(monkeypatch, change, packs):
    choose(monkeypatch, packs)
    model = new_skim_model("bert")
    before = skimmed(model)
    change(model)
    assert not model.training
    after = skimmed(model)
    close(after, dense(model))
    assert float((after - before).abs().max()) > 1e-3


def replace_forward_of_a_predictor(model):
    for number in model.skim_layers:
        decide = model.predictors[str(number)].branches["match"].decide
        decide.forward = lambda rows: rows.new_tensor([0.0, 3.0]).expand(len(rows), 2)


@pytest.mark.parametrize("prepared", [False, True])
def test_a_predictor_with_another_forward_is_called(prepared):
    model = new_skim_model("bert", ("match",), "context")
    if prepared:
        model.prepare()
    replace_forward_of_a_predictor(model)
    found = torch.from_numpy(model.skim(**BATCH.inputs, thresholds=0.0, score_all_layers=True).trace.probabilities)
    assert found[~found.isnan()].allclose(torch.sigmoid(torch.tensor(3.0)))


@pytest.mark.parametrize("part", ["encoder", "predictors"])
def test_weights_that_were_made_in_inference_mode_are_made_ready_for_every_call(caplog, part):
    model = new_skim_model("bert", ("match",), "context")
    with torch.inference_mode():
        getattr(model, part).bfloat16().float()
    before = model.skim(**BATCH.inputs, thresholds=0.0, score_all_layers=True)
    with torch.inference_mode():
        for weight in getattr(model, part).parameters():
            weight.mul_(1.5)
    after = model.skim(**BATCH.inputs, thresholds=0.0, score_all_layers=True)
    with torch.inference_mode():
        expected = model(**BATCH.inputs)
    close(after.start_logits[BATCH.real], expected.start_logits[BATCH.real])
    probabilities = expected.skim_logits.softmax(-1)[..., 1].transpose(0, 1).nan_to_num()
    found, old = (torch.from_numpy(one.trace.probabilities).nan_to_num() for one in (after, before))
    close(found, probabilities)
    assert not torch.allclose(found, old, atol=1e-3)
    assert [record.getMessage()[:62] for record in caplog.records] == [
        "the model has weights that were made in torch.inference_mode, "
    ]


@pytest.mark.parametrize("name", ["encoder.embeddings", "encoder.encoder.layer.1.output.dense", "predictors.1"])
def test_weights_that_are_not_in_memory_are_named(name):
    model = new_skim_model("bert")
    model.get_submodule(name).to("meta")
    with pytest.raises(
        ModelError, match=r"the weight '.*' is not in memory \(a meta tensor, as accelerate's offloading"
    ):
        skimmed(model)


def test_a_model_that_is_nowhere_is_refused():
    with pytest.raises(ModelError, match="is not in memory"):
        skimmed(new_skim_model("bert").to("meta"))


def test_predictors_that_changed_are_made_anew_without_the_layers():
    model = new_skim_model("bert", INPUTS, "context")
    before = ready_of(model)
    with torch.no_grad():
        model.predictors["1"].branches["match"].decide.bias[1] += 1.0
    after = ready_of(model)
    assert after.layers is before.layers
    assert after.num_bytes == before.num_bytes > 0
    assert all(after.predictors[number] is not before.predictors[number] for number in model.skim_layers)
    assert ready_of(model) is after


def test_steps_of_training_change_its_skimming():
    # Fused optimizers, as the trainer's, leave no trace on the weights.
    model = new_skim_model("bert")
    before = skimmed(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, fused=True)
    model.train()
    gradients(model)
    optimizer.step()
    model.eval()
    after = skimmed(model)
    close(after, dense(model))
    assert not torch.allclose(after, before, atol=1e-3)


@every_family
def test_a_model_that_moved_to_bfloat16_skims_in_it(family):
    model = new_skim_model(family)
    batch = make_batch(family, [(4, 60), (2, 41)])
    before = model.skim(**batch.inputs, thresholds=0.0).start_logits[batch.real]
    assert {part.dtype for layer in ready_of(model).layers for part in layer.project(states(3))} == {torch.float32}
    model.to(torch.bfloat16)
    hidden = states(3, dtype=torch.bfloat16)
    assert {part.dtype for layer in ready_of(model).layers for part in layer.project(hidden)} == {torch.bfloat16}
    after = model.skim(**batch.inputs, thresholds=0.0).start_logits[batch.real]
    assert not torch.equal(after, before)
    # Logits are as large as 2, and as far off as a dozen roundings to 8 bits.
    close(after, before, atol=0.1)


@every_family
def test_what_was_lost_in_bfloat16_stays_lost_in_float32(family):
    model = new_skim_model(family)
    batch = make_batch(family, [(4, 60), (2, 41)])
    before = model.skim(**batch.inputs, thresholds=0.0).start_logits[batch.real]
    model.to(torch.bfloat16).to(torch.float32)
    after = model.skim(**batch.inputs, thresholds=0.0).start_logits[batch.real]
    with torch.no_grad():
        close(after, model(**batch.inputs).start_logits[batch.real])
    assert not torch.allclose(after, before, atol=1e-4, rtol=0)


def remembered(model):
    """A reference to something that the ready layers hold, and that nothing else does."""
    gc.collect()
    return weakref.ref(ready_of(model).layers[0].project)


@pytest.mark.slow
def test_training_frees_the_layers_that_were_made_ready():
    model = new_skim_model("bert")
    held = remembered(model)
    model.eval()
    assert held() is not None
    model.train()
    gc.collect()
    assert held() is None
    model.eval()
    close(skimmed(model), dense(model))


def test_a_forward_pass_with_gradients_outside_of_training_frees_nothing():
    model = new_skim_model("bert")
    ready = ready_of(model)
    loss = model(**BATCH.inputs, start_positions=torch.tensor([8, 9, 10]), end_positions=torch.tensor([9, 9, 12])).loss
    model(**BATCH.inputs, output_hidden_states=True)
    assert loss.requires_grad
    assert ready_of(model) is ready
    loss.backward()
    assert model.prepared.current is None


@pytest.mark.parametrize(
    "name",
    ["loss", "skim_loss", "layer_skim_losses", "start_logits", "end_logits", "hidden_states", "attention_outputs"],
)
def test_gradients_that_flow_back_free_what_is_ready(name):
    model = new_skim_model("bert")
    ready_of(model)
    labels = torch.zeros(len(BATCH.sizes), dtype=torch.long)
    relevant = model.layout(*BATCH.masks).droppable.long()
    answers = {"start_positions": labels, "end_positions": labels, "skim_labels": relevant}
    output = model(**BATCH.inputs, **answers, output_hidden_states=True)
    result = output[name]
    assert model.prepared.current is not None
    (result if isinstance(result, torch.Tensor) else result[-1]).sum().backward()
    assert model.prepared.current is None


@pytest.mark.parametrize("frozen", ["encoder", "predictors"])
def test_steps_of_fused_optimizers_are_seen_whatever_is_frozen(frozen):
    model = new_skim_model("bert", ("match",), "context")
    getattr(model, frozen).requires_grad_(False)
    before = model.skim(**BATCH.inputs, thresholds=0.0, score_all_layers=True)
    learning = [value for value in model.parameters() if value.requires_grad]
    labels = model.layout(*BATCH.masks).droppable.long()
    model(**BATCH.inputs, skim_labels=labels).loss.backward()
    torch.optim.AdamW(learning, lr=0.05, fused=True).step()
    after = model.skim(**BATCH.inputs, thresholds=0.0, score_all_layers=True)
    with torch.no_grad():
        expected = model(**BATCH.inputs).skim_logits.softmax(-1)[..., 1].transpose(0, 1)
    found, old = (torch.from_numpy(one.trace.probabilities).nan_to_num() for one in (after, before))
    close(found, expected.nan_to_num())
    assert not torch.allclose(found, old, atol=1e-3)


def test_a_forward_pass_in_training_frees_what_is_ready():
    model = new_skim_model("bert").train()
    ready_of(model)
    dense(model)
    assert model.prepared.current is None


def test_clearing_frees_the_layers():
    model = new_skim_model("bert")
    held = remembered(model)
    model.prepared.clear()
    gc.collect()
    assert held() is None
    assert model.prepared.num_bytes == 0


@pytest.mark.slow
def test_old_layers_are_freed_before_new_ones_are_made(monkeypatch):
    model = new_skim_model("bert")
    held = remembered(model)
    change_in_place(model)
    alive = []
    make = prepared_layers.pack_linear

    def watching(*arguments):
        gc.collect()
        alive.append(held() is not None)
        return make(*arguments)

    monkeypatch.setattr(prepared_layers, "pack_linear", watching)
    ready_of(model)
    assert alive == [False] * 4 * LAYERS


def test_preparing_tells_the_memory_that_copies_take():
    model = new_skim_model("bert")
    size = model.prepare()
    assert ready_of(model) is ready_of(model)
    # Joined projections are copies everywhere; where weights are packed, so are those of the other linear layers.
    joined, others = 3 * HIDDEN * HIDDEN, HIDDEN * HIDDEN + 2 * HIDDEN * WIDE
    packs = packed_linear.can_pack(some_linear(model).weight)
    assert 4 * LAYERS * (joined + packs * others) <= size <= 1.2 * 4 * LAYERS * (joined + packs * others)
    model.train()
    assert model.prepared.num_bytes == 0


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@every_family
def test_copies_of_a_model_that_has_skimmed_skim_alike_and_for_themselves(family, duplicate):
    model, batch = new_skim_model(family), make_batch(family, [(4, 30), (2, 41)])

    def skim(one):
        return one.skim(**batch.inputs, thresholds=0.5).start_logits

    expected = skim(model)
    ready = ready_of(model)
    other = duplicate(model)
    assert other.prepared.current is None
    assert torch.equal(skim(other), expected)
    assert ready_of(other) is not ready
    assert ready_of(model) is ready
    with torch.no_grad():
        for value in other.encoder.parameters():
            value.mul_(1.5)
    assert not torch.equal(skim(other), expected)
    assert torch.equal(skim(model), expected)


def test_a_pickle_has_no_second_copy_of_the_weights():
    model = new_skim_model("bert")
    before = len(pickle.dumps(model))
    assert model.prepare() > 0
    assert len(pickle.dumps(model)) == before


def at_once(run, count=8):
    """What a function gives in each of some threads that call it at the same moment."""
    barrier = threading.Barrier(count)

    def wait_and_run(_):
        barrier.wait()
        return run()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(wait_and_run, range(count)))


@pytest.fixture
def many_switches():
    """Lets threads take turns as often as possible."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def forget(model):
    model.prepared.clear()


def change_a_predictor(model):
    with torch.no_grad():
        model.predictors["1"].branches["match"].join.weight.mul_(1.1)


@pytest.mark.slow
def test_threads_that_ask_a_cold_model_at_once_get_what_one_gets(many_switches):
    model = new_skim_model("bert", ("match",), "context")
    for touch in [forget, change_in_place, change_a_predictor, replace_a_weight] * 4:
        touch(model)
        alone = skimmed(copy.deepcopy(model), thresholds=0.4)
        for found in at_once(lambda: skimmed(model, thresholds=0.4)):
            assert torch.equal(found, alone)


def test_one_thread_makes_what_all_of_them_get(monkeypatch):
    model = new_skim_model("bert")
    made = []

    def slowly(adapter, layers):
        made.append(threading.get_ident())
        time.sleep(0.05)
        return prepared_layers.prepare_layers(adapter, layers)

    monkeypatch.setattr(prepared_model, "prepare_layers", slowly)
    for burst in (1, 2):
        ready = at_once(lambda: model.prepared.of(model.encoder, model.adapter, {}))
        assert len(made) == burst
        assert len(ready[0].layers) == LAYERS
        assert all(one is ready[0] for one in ready)
        change_in_place(model)


def test_what_failed_to_be_made_is_made_by_the_next_request(monkeypatch):
    model = new_skim_model("bert")
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(prepared_layers, "pack_linear", lambda *_: raise_memory_error())
        model.prepare()
    assert model.prepared.current is None
    close(skimmed(model), dense(model))


def raise_memory_error():
    raise MemoryError
