"""What of a long text the engine of ``examples/browser`` reads at all: what Python reads. Skipped without Node."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from blockskim import QuestionAnswerer
from blockskim.exporting.weight_files import float_rows, open_rows
from blockskim.method.first_stage import block_scores, chosen_blocks
from javascript import ANSWER_ALL, Node, assert_same, assert_same_reading
from tiny_answerers import TEXT, new_model
from tiny_tokenizers import fixed_tokenizer

SIZE = 16
FILLER = "The end of the text is here, where nothing is red. A man walks by the sea. "


@pytest.mark.parametrize("number_format", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_blocks_are_scored_and_chosen_as_in_python(node: Node, tmp_path: Path, number_format: torch.dtype) -> None:
    torch.manual_seed(0)
    path, generator = tmp_path / "model.safetensors", np.random.default_rng(0)
    rows = torch.randn(300, 12) * 10.0 ** torch.randint(-8, 3, (300, 1))
    save_file({"other": torch.ones(7), "words": rows.to(number_format), "last": torch.ones(3)}, path)
    matrix = open_rows(path, "words")
    contexts = [generator.integers(0, 250, tokens) for tokens in (1, 40, 2005)]
    question = np.array([7, 299, 3, 7])
    script = """
      const embed = readEmbeddings(readFileSync(given.path), "words");
      print([Array.from(embed(3)), ...given.contexts.map((context) => {
        const scores = blockScores(context, given.question, given.size, embed);
        return [Array.from(scores), chosenBlocks(scores, 0.5, 3)];
      })]);
    """
    given = {"path": str(path), "question": question.tolist(), "size": SIZE}
    row, *found = node.run(script, given | {"contexts": [context.tolist() for context in contexts]})
    assert row == float_rows(matrix, np.array([3]))[0].tolist()
    for context, (scores, chosen) in zip(contexts, found, strict=True):
        wanted, _ = block_scores(context, question, SIZE, lambda ids: float_rows(matrix, ids))
        np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-6)
        assert chosen == chosen_blocks(wanted, 0.5, 3).tolist()


def test_weights_without_word_embeddings_are_named(node: Node, tmp_path: Path) -> None:
    save_file({"other": torch.ones(7)}, tmp_path / "model.safetensors")
    script = """
      try { readEmbeddings(readFileSync(given), "words"); } catch (error) { print(error.message); }
    """
    assert "no word embeddings words" in node.run(script, str(tmp_path / "model.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("number_format", [torch.float32, torch.float16], ids=str)
def test_passages_are_read_as_python_reads_them(
    node_with_onnx: Node, tmp_path: Path, number_format: torch.dtype
) -> None:
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    from blockskim.exporting.export import export

    model = new_model(document_threshold=0.7).to(number_format)
    directory = export(model, tmp_path / "exported", fixed_tokenizer("wordpiece")).directory
    answerer = QuestionAnswerer(directory, backend="onnx", threads=1)
    question, text = "Who counted the nests in 2024?", FILLER * 120 + TEXT + FILLER * 40 + TEXT + FILLER * 60
    thresholds = (None, 0, 0.5, 1, [0.0, 0.6])
    asked = [(question, text, {} if each is None else {"thresholds": each}) for each in thresholds]
    found = node_with_onnx.run(ANSWER_ALL, {"model": str(directory), "asked": asked})
    for threshold, each in zip(thresholds, found, strict=True):
        wanted = answerer(question, text, threshold=threshold, return_trace=True)
        # Without anything left out the test would show nothing.
        assert (wanted["trace"].unread is None) == (threshold == 0)
        assert_same(each, wanted, text)
        assert_same_reading(each, wanted["trace"], text)
