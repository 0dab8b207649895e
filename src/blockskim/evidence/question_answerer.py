"""QuestionAnswerer: answers, and the evidence for them. What most people use."""

from typing import Any

from blockskim.answering.answerer import Answerer
from blockskim.answering.reading import WindowCount
from blockskim.answering.request import DEFAULT_LENGTH, AnswerOptions
from blockskim.answering.texts import DocumentsGiven, TextsGiven, as_documents, as_texts, is_one_text
from blockskim.checks import check_count
from blockskim.evidence.finding import find_evidence, queries_over
from blockskim.evidence.highlight import highlight, rank
from blockskim.evidence.options import BudgetGiven, EvidenceOptions, KeepGiven, ThresholdGiven
from blockskim.evidence.prune import GAP, prune
from blockskim.evidence.sentences import Splitter, split_sentences


class QuestionAnswerer(Answerer):
    """Answers questions over texts of any length, and finds what in them matters.

    Examples:
        >>> from blockskim import QuestionAnswerer
        >>> qa = QuestionAnswerer()
        >>> text = "Ann wrote it in 2024. It was printed in Leeds."
        >>> answer = qa(question="Who wrote it?", context=text)
        >>> answer["answer"], text[answer["start"] : answer["end"]]
        ('Ann', 'Ann')
        >>> qa.search("Where was it printed?", {"a.txt": text, "b.txt": "The kite nests."}).answers[0]["document"]
        'a.txt'
        >>> [sentence["text"] for sentence in qa.highlight("Where was it printed?", {"a.txt": text}, top_k=1)]
        ['It was printed in Leeds.']
        >>> qa.prune("Where was it printed?", {"a.txt": text}, top_k=1).documents
        {'a.txt': 'It was printed in Leeds.'}
    """

    def highlight(
        self,
        questions: TextsGiven,
        documents: DocumentsGiven,
        *,
        threshold: ThresholdGiven = None,
        top_k: int | None = None,
        budget: BudgetGiven = None,
        context: int = 0,
        keep: KeepGiven = None,
        order: str = "score",
        sentences: Splitter = split_sentences,
        max_answer_len: int = 15,
        doc_stride: int = 128,
        max_seq_len: int = DEFAULT_LENGTH,
        max_question_len: int = 64,
        batch_size: int | None = None,
        dense: bool = False,
        point: str | None = None,
        max_cost: float | None = None,
        progress: WindowCount | None = None,
    ) -> Any:
        """Find the sentences that matter for a question, each with its score and the answer that stands in it.

        All documents and questions are read in one run. The score of a sentence does not depend on the other documents.

        Args:
            questions: a question or several, in the forms that a call takes.
            documents: texts by name, or in the other forms that ``search`` takes.
            threshold: the least score of evidence, from 0 to 1, or a point of the model by its name: at "highlight-98"
                98 % of the evidence stay of the data that it was chosen on. Without it the model's own holds, or none
                at all if there is a ``top_k`` or a ``budget``.
            top_k: sentences of evidence at most, over all documents.
            budget: how much is given at most, over all documents: a share of their characters, above 0 and up to 1, or
                such as "30%", "500 tokens" (of the model) or "2000 characters".
            context: neighbouring sentences that are given, too, to either side of each piece of evidence.
            keep: what else is given of a document with evidence: "titles" for headings and a title line, or a function
                that says of a sentence whether it is.
            order: "score", best first over all documents, or "text", as they stand in the documents.
            sentences: finds the sentences of a text in place of ``split_sentences``: gives first character and one past
                the last of each, in order.
            max_answer_len: most tokens in an answer.
            doc_stride: tokens by which the windows of a long document overlap (at most half of what fits in one).
            max_seq_len: tokens in a window, question included.
            max_question_len: tokens of a question that are read; a warning tells when a question is longer.
            batch_size: windows that run together; the result does not depend on it.
            dense: read everything, as a model without Block-Skim does.
            point: operating point of the model, by its name.
            max_cost: bound of the FLOPs for a document, as a share of the dense model's; one block is always read.
            progress: called after each batch with how many windows are done, and of how many as far as is known.

        Returns:
            For one question a list with a dictionary for each sentence: ``document`` (its name), ``text``, ``start``
            and ``end`` (``document[start:end] == text``), ``score``, ``role`` ("evidence", "context" or "kept") and
            ``answer``, which is None or has ``text``, ``start``, ``end`` (in the document, too) and ``confidence``.
            For a list of questions a list of that.

        Raises:
            ConfigError: an argument is impossible, two exclude each other, the model can't do it, or a document is no
                text.
            DataError: a question is blank, a question or document holds no valid text, or there is no document.
            ModelError: the model computes no numbers.
        """
        options = EvidenceOptions(
            threshold=threshold, top_k=top_k, budget=budget, context=context, keep=keep, order=order
        )
        reading = AnswerOptions(
            max_answer_len=max_answer_len,
            doc_stride=doc_stride,
            max_seq_len=max_seq_len,
            max_question_len=max_question_len,
            batch_size=batch_size,
            dense=dense,
            point=point,
            max_cost=max_cost,
        )
        asked, texts = as_texts("question", questions), as_documents(documents)
        found = highlight(self.reader, queries_over(asked, texts), options, reading, sentences, progress, trace=False)
        results = [each.sentences for each in found]
        return results[0] if is_one_text(questions) else results

    def prune(
        self,
        questions: TextsGiven,
        documents: DocumentsGiven,
        *,
        threshold: ThresholdGiven = None,
        top_k: int | None = None,
        budget: BudgetGiven = None,
        context: int = 0,
        keep: KeepGiven = None,
        gap: str = GAP,
        sentences: Splitter = split_sentences,
        doc_stride: int = 128,
        max_seq_len: int = DEFAULT_LENGTH,
        max_question_len: int = 64,
        batch_size: int | None = None,
        dense: bool = False,
        point: str | None = None,
        max_cost: float | None = None,
        progress: WindowCount | None = None,
    ) -> Any:
        """Cut documents to the sentences that matter for a question, in their order; one without any goes entirely.

        Args:
            questions: as ``highlight`` takes them.
            documents: likewise.
            threshold: the least score of what is left, as ``highlight`` takes it.
            top_k: sentences of evidence at most, over all documents.
            budget: how much may be left at most, over all documents and with gaps, in the forms that ``highlight``
                takes.
            context: neighbouring sentences that are left, too, to either side of each piece of evidence.
            keep: what else is left of a document with evidence, as for ``highlight``.
            gap: what stands in place of what was cut out between two sentences.
            sentences: finds the sentences of a text, as for ``highlight``.
            doc_stride: tokens by which the windows of a long document overlap (at most half of what fits in one).
            max_seq_len: tokens in a window, question included.
            max_question_len: tokens of a question that are read; a warning tells when a question is longer.
            batch_size: windows that run together; the result does not depend on it.
            dense: read everything, as a model without Block-Skim does.
            point: operating point of the model, by its name.
            max_cost: bound of the FLOPs for a document, as a share of the dense model's; one block is always read.
            progress: called after each batch with how many windows are done, and of how many as far as is known.

        Returns:
            For one question a ``PrunedTexts``: its ``documents``, the share ``kept``, and the way back from places in
            the pruned texts to the originals; for a list of questions a list of them.

        Raises:
            ConfigError: an argument is impossible, two exclude each other, the model can't do it, or a document is no
                text.
            DataError: a question is blank, a question or document holds no valid text, or there is no document.
            ModelError: the model computes no numbers.
        """
        options = EvidenceOptions(threshold=threshold, top_k=top_k, budget=budget, context=context, keep=keep)
        reading = AnswerOptions(
            doc_stride=doc_stride,
            max_seq_len=max_seq_len,
            max_question_len=max_question_len,
            batch_size=batch_size,
            dense=dense,
            point=point,
            max_cost=max_cost,
        )
        asked, texts = as_texts("question", questions), as_documents(documents)
        results = prune(self.reader, queries_over(asked, texts), options, reading, gap, sentences, progress)
        return results[0] if is_one_text(questions) else results

    def rank(
        self,
        questions: TextsGiven,
        documents: DocumentsGiven,
        *,
        top_k: int | None = None,
        sentences: Splitter = split_sentences,
        doc_stride: int = 128,
        max_seq_len: int = DEFAULT_LENGTH,
        max_question_len: int = 64,
        batch_size: int | None = None,
        dense: bool = False,
        point: str | None = None,
        max_cost: float | None = None,
        progress: WindowCount | None = None,
    ) -> Any:
        """Order documents by how likely they hold evidence for a question: by the score of their best sentence.

        Args:
            questions: as ``highlight`` takes them.
            documents: likewise.
            top_k: documents at most; all when None.
            sentences: finds the sentences of a text, as for ``highlight``.
            doc_stride: tokens by which the windows of a long document overlap (at most half of what fits in one).
            max_seq_len: tokens in a window, question included.
            max_question_len: tokens of a question that are read; a warning tells when a question is longer.
            batch_size: windows that run together; the result does not depend on it.
            dense: read everything, as a model without Block-Skim does.
            point: operating point of the model, by its name.
            max_cost: bound of the FLOPs for a document, as a share of the dense model's; one block is always read.
            progress: called after each batch with how many windows are done, and of how many as far as is known.

        Returns:
            For one question a list of dictionaries with ``document`` (its name) and ``score``, best first; for a list
            of questions a list of that.

        Raises:
            ConfigError: an argument is impossible, two exclude each other, the model can't do it, or a document is no
                text.
            DataError: a question is blank, a question or document holds no valid text, or there is no document.
            ModelError: the model computes no numbers.
        """
        count = None if top_k is None else check_count("top_k", top_k)
        reading = AnswerOptions(
            doc_stride=doc_stride,
            max_seq_len=max_seq_len,
            max_question_len=max_question_len,
            batch_size=batch_size,
            dense=dense,
            point=point,
            max_cost=max_cost,
        )
        asked, texts = as_texts("question", questions), as_documents(documents)
        found = find_evidence(self.reader, queries_over(asked, texts), reading, sentences, progress, trace=False)
        results = [rank(evidence, count) for evidence in found]
        return results[0] if is_one_text(questions) else results
