"""Small data files for the commands that train and measure."""

from tiny_answerers import TEXT


def squad(questions, articles=1, prefix="q", **extra):
    """A SQuAD file's content with one paragraph an article."""
    data = []
    for article in range(articles):
        answers = [{"text": "Wales", "answer_start": TEXT.index("Wales")}]
        qas = [
            {"id": f"{prefix}{article}-{number}", "question": f"Where is nest {number}?", "answers": answers}
            for number in range(questions)
        ]
        data.append({"title": f"Article {article}", "paragraphs": [{"context": f"{TEXT} {article}", "qas": qas}]})
    return {"version": "1.1", "data": data, **extra}
