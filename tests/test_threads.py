"""Several threads that share a model which nobody used before get what one thread gets.

Every public function and every public method that takes a model has an entry in the table; ``test_the_table_is_whole``
sees to it.
"""

import contextlib
import copy
import functools
import inspect
import logging
import re
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import pipeline, pipelines
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.utils import logging as transformers_logging

import blockskim
import synthetic_task
from at_once import at_once
from blockskim import BlockSkimForQuestionAnswering, QuestionAnswerer
from blockskim.answering.answerer import Answerer
from blockskim.answering.request import AnswerOptions, TextPair
from blockskim.data.examples import Example
from blockskim.inference.runner import run_windows
from blockskim.integrations.transformers_pipeline import TASK
from strategies import every_family
from tiny_answerers import TEXT, new_model, save_model, save_plain
from tiny_models import INPUTS, make_batch, skim_model
from tiny_tokenizers import fixed_tokenizer, tokenizer
from training_runs import short_recipe

QUESTIONS = ["Where is the nest?", "Who counted them?", "What is red?", "When were there 2,500 nests?"]
SETTINGS = blockskim.WindowSettings(60, 10, 20)
BATCH = make_batch("bert", [(4, 60), (7, 30)]).inputs


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def plain_directory(tmp_path_factory):
    return save_plain(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def examples():
    """Examples whose right answers are those of the dense model."""
    facts = (("format", "squad"), ("version", "1.1"))
    asked = [
        Example(str(number), question, TEXT[20 * number :], (), ("?",), metadata=facts)
        for number, question in enumerate(QUESTIONS)
    ]
    windows = blockskim.make_windows(asked, fixed_tokenizer("wordpiece"), SETTINGS)
    found = blockskim.evaluate_windows(cold(), windows, thresholds=0.0).predictions
    return [replace(example, references=(found[example.id],)) for example in asked]


@functools.cache
def original():
    return new_model()


def cold():
    """A model that was not used yet."""
    return copy.deepcopy(original())


def windows_of(examples):
    return blockskim.make_windows(examples, fixed_tokenizer("wordpiece"), SETTINGS)


def answered(qa, number):
    """One of several questions, in calls and in searches."""
    question = QUESTIONS[number % len(QUESTIONS)]
    return qa(question, TEXT * 2, top_k=2, threshold=0.5), qa.search(question, {"a": TEXT, "b": "A man."}).answers


def evidence_of(qa, number):
    """Evidence for one of several questions, in all forms."""
    question, texts = QUESTIONS[number % len(QUESTIONS)], {"a": TEXT * 2, "b": "A man."}
    return (
        qa.highlight(question, texts, top_k=3),
        qa.prune(question, texts, budget=0.3).documents,
        qa.rank(question, texts),
    )


def of_output(output):
    """Logits, and what was kept."""
    kept = output.trace.kept.tolist() if "trace" in output else None
    return output.start_logits.tolist(), output.end_logits.tolist(), kept


def without_seconds(report):
    return {name: value for name, value in report.items() if name != "seconds"}


def chosen(calibration):
    return calibration.chosen.thresholds, [
        (point.thresholds, point.f1, point.flops_speedup) for point in calibration.front
    ]


def asking(examples, directory):
    qa = QuestionAnswerer(cold(), fixed_tokenizer("wordpiece"))
    return lambda number: answered(qa, number)


def finding_evidence(examples, directory):
    qa = QuestionAnswerer(cold(), fixed_tokenizer("wordpiece"))
    return lambda number: evidence_of(qa, number)


def making(examples, directory):
    model, own = cold(), tokenizer("wordpiece")
    return lambda number: answered(QuestionAnswerer(model, own), number)


def loading(examples, directory):
    return lambda number: answered(QuestionAnswerer(directory, dtype="float32"), number)


def loading_exported(examples, directory):
    pytest.importorskip("onnx")
    from tiny_exports import exported_answerer

    return lambda number: answered(QuestionAnswerer(exported_answerer().directory, threads=1 + number % 2), number)


def asking_exported(examples, directory):
    pytest.importorskip("onnx")
    from tiny_exports import exported_answerer

    qa = QuestionAnswerer(exported_answerer().directory, backend="onnx", threads=2)
    return lambda number: answered(qa, number)


def export(examples, directory):
    pytest.importorskip("onnx")
    model = cold()

    def call(number):
        with tempfile.TemporaryDirectory() as folder:
            result = blockskim.export(model, Path(folder) / "out", fixed_tokenizer("wordpiece"))
            return result.weight_bytes, (result.directory / "model.onnx").read_bytes()

    return call


def load(examples, directory):
    def call(number):
        loaded = blockskim.load(directory, dtype="float32")
        return of_output(loaded.model.skim(**BATCH))

    return call


def starting(examples, directory):
    qa = QuestionAnswerer(cold(), fixed_tokenizer("wordpiece"))

    def call(number):
        reading = qa.start([TextPair(QUESTIONS[number % 4], TEXT * 2)], AnswerOptions(top_k=2), trace=True)
        for phase in reading.phases():
            reading.take(list(run_windows(qa.model, phase.windows, batch_size=1, thresholds=reading.thresholds)), phase)
        answers = reading.answers()
        return answers, [replace(trace, seconds=0.0) for trace in reading.traces()]

    return call


def skim(examples, directory):
    model = cold()
    return lambda number: of_output(model.skim(**BATCH, thresholds=0.1 * (number % 4)))


def score_windows(examples, directory):
    model, windows = cold(), windows_of(examples)

    def call(number):
        found = model.score_windows(windows.pack([number % 4, 2]), 0.5)
        return found.start_logits.tolist(), found.end_logits.tolist(), found.trace.kept.tolist()

    return call


def skim_packed(examples, directory):
    model, windows = cold(), windows_of(examples)
    return lambda number: of_output(model.skim_packed(windows.pack([number % 4, 2]), 0.5))


@torch.no_grad()
def forward(examples, directory):
    model = cold()

    @torch.no_grad()
    def call(number):
        dense = model(**BATCH)
        return of_output(dense), dense.skim_logits.nan_to_num().tolist(), of_output(model.skim(**BATCH))

    return call


def skimmers(examples, directory):
    model = cold()
    return lambda number: [type(layer).__name__ for layer in model.skimmers(0.5).layers]


def prepare(examples, directory):
    model = cold()
    return lambda number: (model.prepare(), of_output(model.skim(**BATCH)))


def from_backbone(examples, directory):
    model = cold()

    def call(number):
        found = BlockSkimForQuestionAnswering.from_backbone(model).eval()
        return of_output(found.skim(**BATCH, thresholds=0.0))

    return call


def from_pretrained(examples, directory):
    return lambda number: of_output(BlockSkimForQuestionAnswering.from_pretrained(directory).skim(**BATCH))


def save_pretrained(examples, directory):
    model = cold()

    def call(number):
        model.save_pretrained(directory / f"copy-{number}")
        return of_output(BlockSkimForQuestionAnswering.from_pretrained(directory / f"copy-{number}").skim(**BATCH))

    return call


def evaluate(examples, directory):
    model, own = cold(), tokenizer("wordpiece")
    return lambda number: without_seconds(
        blockskim.evaluate(model, blockskim.make_windows(examples, own, SETTINGS), thresholds=0.5)
    )


def evaluate_windows(examples, directory):
    model, windows = cold(), windows_of(examples)

    def call(number):
        found = blockskim.evaluate_windows(model, windows, batch_size=3, thresholds=0.1 * (number % 4))
        return found.scores, found.predictions, found.cost.flops

    return call


def calibrate(examples, directory):
    model, windows = cold(), windows_of(examples)
    options = {"overhead": 0.0, "max_f1_at_risk": 100.0, "points": 2}
    return lambda number: chosen(blockskim.calibrate(model, windows, max_f1_drop=20.0, **options))


def calibrate_points(examples, directory):
    model, windows = cold(), windows_of(examples)
    options = {"overhead": 0.0, "max_f1_at_risk": 100.0, "points": 2}
    targets = {"fast": blockskim.Target(max_f1_drop=50.0)}
    return lambda number: chosen(blockskim.calibrate_points(model, windows, targets, **options)["fast"])


def make_windows(examples, directory):
    own = tokenizer("wordpiece")
    return lambda number: [window["input_ids"].tolist() for window in blockskim.make_windows(examples, own, SETTINGS)]


def register_pipeline(examples, directory):
    removed = dict(getattr(pipelines, "REMOVED_TASKS", {}))
    blockskim.register_pipeline()
    pipe = pipeline("question-answering", model=cold(), tokenizer=tokenizer("wordpiece"), device="cpu")
    PIPELINE_REGISTRY.supported_tasks.pop(TASK)
    getattr(pipelines, "REMOVED_TASKS", {}).update(removed)
    return lambda number: pipe({"question": QUESTIONS[number % len(QUESTIONS)], "context": TEXT})


TABLE = {
    "QuestionAnswerer": making,
    "QuestionAnswerer.__call__": asking,
    "QuestionAnswerer.highlight": finding_evidence,
    "QuestionAnswerer.prune": finding_evidence,
    "QuestionAnswerer.rank": finding_evidence,
    "QuestionAnswerer.search": asking,
    "QuestionAnswerer.start": starting,
    "QuestionAnswerer of a directory": loading,
    "QuestionAnswerer of an exported directory": loading_exported,
    "QuestionAnswerer of an exported directory, shared": asking_exported,
    "BlockSkimForQuestionAnswering.forward": forward,
    "BlockSkimForQuestionAnswering.from_backbone": from_backbone,
    "BlockSkimForQuestionAnswering.from_pretrained": from_pretrained,
    "BlockSkimForQuestionAnswering.prepare": prepare,
    "BlockSkimForQuestionAnswering.save_pretrained": save_pretrained,
    "BlockSkimForQuestionAnswering.skim": skim,
    "BlockSkimForQuestionAnswering.score_windows": score_windows,
    "BlockSkimForQuestionAnswering.skim_packed": skim_packed,
    "BlockSkimForQuestionAnswering.skimmers": skimmers,
    "calibrate": calibrate,
    "calibrate_points": calibrate_points,
    "evaluate": evaluate,
    "evaluate_windows": evaluate_windows,
    "export": export,
    "load": load,
    "make_windows": make_windows,
    "register_pipeline": register_pipeline,
}

NOT_FOR_SEVERAL_THREADS = {
    # These change the model, or nothing but a number of it.
    "BlockSkimForQuestionAnswering.prune_heads",
    "BlockSkimForQuestionAnswering.resize_token_embeddings",
    "BlockSkimForQuestionAnswering.train",
    # These compute nothing with weights.
    "BlockSkimForQuestionAnswering.answer_logits",
    "BlockSkimForQuestionAnswering.layout",
    "BlockSkimForQuestionAnswering.packed_layout",
    # Training seeds the whole process: two runs at once would disturb each other. Answers meanwhile have a test.
    "train",
    # These take no model.
    "Answer",
    "BlockSkimError",
    "Example",
    "Recipe",
    "SkimConfig",
    "Target",
    "WindowSettings",
    "__version__",
    "read_examples",
}


def test_the_table_is_whole():
    names = set(blockskim.__all__) - {"BlockSkimForQuestionAnswering"}
    # Methods of the answerer's own classes; of a model there are those of transformers, too.
    owners = {Answerer: QuestionAnswerer, QuestionAnswerer: QuestionAnswerer}
    for owner, kind in {**owners, BlockSkimForQuestionAnswering: BlockSkimForQuestionAnswering}.items():
        for name, member in vars(owner).items():
            if inspect.isroutine(getattr(kind, name)) and (name == "__call__" or not name.startswith("_")):
                assert inspect.getdoc(member)
                names.add(f"{kind.__name__}.{name}")
    missing = names - {*TABLE, *NOT_FOR_SEVERAL_THREADS}
    assert not missing, "each needs a line in the table, or a reason to have none"


SLOW = ("calibrate", "export")
"""What is in the name of an entry that takes seconds."""


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, id=name, marks=pytest.mark.slow if any(word in name for word in SLOW) else ())
        for name, make in TABLE.items()
    ],
)
def test_several_threads_get_what_one_gets(make, examples, directory, tmp_path):
    if make is save_pretrained:
        directory = tmp_path
    with quick_exports() if make is export else contextlib.nullcontext():
        alone = make(examples, directory)
        # What a thread asks depends on its number, in turns of four at most.
        wanted = [alone(number) for number in range(4)]
        assert at_once(make(examples, directory)) == wanted * 2


def quick_exports():
    pytest.importorskip("onnx")
    from tiny_exports import shared_traces

    return shared_traces()


@every_family
def test_a_cold_model_of_every_family_is_made_ready_once(family):
    batch = make_batch(family, [(4, 60), (7, 30)]).inputs
    warm = copy.deepcopy(skim_model(family, INPUTS, "context"))
    warm.has_trained_predictors = True
    wanted = [of_output(warm.skim(**batch, thresholds=value)) for value in (0.0, 0.5)]
    model = copy.deepcopy(warm)
    for change in (lambda: None, lambda: model.train().eval(), model.prepared.clear):
        change()
        assert at_once(lambda number: of_output(model.skim(**batch, thresholds=0.5 * (number % 2)))) == wanted * 4


def test_weights_that_changed_are_seen_by_all_threads():
    model = cold()
    answered(QuestionAnswerer(model, fixed_tokenizer("wordpiece")), 0)
    with torch.no_grad():
        model.encoder.encoder.layer[1].output.dense.weight.mul_(-1)
    changed = copy.deepcopy(model)
    ask = QuestionAnswerer(changed, fixed_tokenizer("wordpiece"))
    wanted = [answered(ask, number) for number in range(4)] * 2
    qa = QuestionAnswerer(model, fixed_tokenizer("wordpiece"))
    assert at_once(lambda number: answered(qa, number)) == wanted


def test_a_caller_that_uses_its_tokenizer_in_another_thread_changes_no_answer():
    own = tokenizer("wordpiece")
    qa = QuestionAnswerer(cold(), own)
    wanted = [answered(qa, number) for number in range(4)] * 2
    stop = threading.Event()

    def cut():
        while not stop.is_set():
            own("the kite " * 9, padding="max_length", truncation=True, max_length=6)
            own.backend_tokenizer.no_truncation()
            own.backend_tokenizer.no_padding()

    thread = threading.Thread(target=cut, daemon=True)
    thread.start()
    try:
        for _ in range(3):
            assert at_once(lambda number: answered(qa, number)) == wanted
    finally:
        stop.set()
        thread.join()


@pytest.mark.slow
def test_models_of_several_formats_load_at_once_and_leave_the_process_as_it_was(directory, plain_directory):
    choices = [
        (directory, "float32"),
        (plain_directory, "bfloat16"),
        (directory, "bfloat16"),
        (plain_directory, "float32"),
    ]

    def call(number):
        place, dtype = choices[number % 4]
        qa = QuestionAnswerer(place, device="cpu", dtype=dtype)
        assert qa.model.dtype == getattr(torch, dtype)
        return qa(QUESTIONS[0], TEXT)

    def process():
        return (
            torch.get_default_dtype(),
            transformers_logging.get_verbosity(),
            transformers_logging.is_progress_bar_enabled(),
            logging.getLogger("huggingface_hub").level,
        )

    before = process()
    wanted = [call(number) for number in range(4)] * 2
    assert at_once(call) == wanted
    assert process() == before


@pytest.mark.slow
def test_training_in_one_thread_and_answers_in_others_leave_each_other_alone(tmp_path):
    base, recipe = save_model(tmp_path / "base"), short_recipe(epochs=1, eval_steps=2)
    data = synthetic_task.examples(32, 0), synthetic_task.examples(4, 1)
    blockskim.train(base, *data, tmp_path / "alone", recipe, device="cpu")
    qa = QuestionAnswerer(cold(), fixed_tokenizer("wordpiece"))
    wanted = [answered(qa, number) for number in range(4)] * 2
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(blockskim.train, base, *data, tmp_path / "beside", recipe, device="cpu")
        rounds = 0
        while not run.done() or not rounds:
            qa.model.prepared.clear()
            assert at_once(lambda number: answered(qa, number)) == wanted
            rounds += 1
        run.result()
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("alone", "beside"))
    assert all(value.equal(other[name]) for name, value in one.items())


@every_family
def test_answers_do_not_depend_on_the_default_format(family):
    """While transformers loads a model in another thread, PyTorch's default is that model's."""
    batch = make_batch(family, [(4, 60), (7, 30), (2, 50)]).inputs
    model = copy.deepcopy(skim_model(family, INPUTS, "context"))
    model.has_trained_predictors = True
    wanted = [of_output(model.skim(**batch, thresholds=value)) for value in (0.0, 0.5)]
    model.prepared.clear()
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        found = [of_output(model.skim(**batch, thresholds=value)) for value in (0.0, 0.5)]
    finally:
        torch.set_default_dtype(before)
    assert found == wanted


def test_numbers_of_threads_are_left_alone():
    before = torch.get_num_threads()
    QuestionAnswerer(cold(), fixed_tokenizer("wordpiece"))(QUESTIONS[0], TEXT)
    assert torch.get_num_threads() == before


def test_the_example_of_the_documentation_runs():
    page = Path(__file__).parents[1] / "docs" / "how-to" / "threads-and-processes.md"
    threads, processes = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    before, names = torch.get_num_threads(), {"__name__": "page"}
    try:
        exec(compile(threads, str(page), "exec"), names)
        assert [found["answer"] for found in names["answers"]] == ["Ann", "2024"]
        # Without the processes, whose start takes long: what each of them does.
        exec(compile(processes, str(page), "exec"), names)
        names["start"]()
        assert names["answer"](names["pairs"][0]) == "Ann"
    finally:
        torch.set_num_threads(before)
