"""The page of ``examples/browser`` with the shipped model: Python's answers at the same places.

Skipped where Node, what ``npm ci`` puts beside the page, or Chromium is missing; nothing is downloaded.
"""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

from blockskim import QuestionAnswerer
from blockskim.inference.shipped import shipped_model
from browser_questions import QUESTIONS
from javascript import ANSWER_ALL, Node, assert_same, assert_same_reading

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def answerer() -> QuestionAnswerer:
    """The shipped model as it answers in Python."""
    return QuestionAnswerer(backend="onnx", threads=1)


def loaded(node: Node, files: dict[str, Any], graph: str) -> Any:
    """What the engine loads of some files, given as JSON; the runtime is a stand-in."""
    script = """
      const bytes = async (name) => new TextEncoder().encode(JSON.stringify(given.files[name] ?? {}));
      const ort = { InferenceSession: { create: async (graph, { externalData }) => externalData[0].path } };
      try { print(await loadModel(ort, bytes, given.graph)); } catch (error) { print(error.message); }
    """
    return node.run(script, {"files": files, "graph": graph})


def test_the_int8_graph_has_thresholds_of_its_own(node: Node) -> None:
    names = ("export.json", "config.json", "tokenizer.json")
    files = {name: json.loads((shipped_model() / name).read_text(encoding="utf-8")) for name in names}
    own = {"thresholds": 0.25, "points": {"fast": 0.5}}
    files["export.json"]["int8_settings"] = own
    settings = files["config.json"]["skim"]
    settings["document_threshold"] = 0.0  # for which there would have to be weights
    assert loaded(node, files, "model.onnx")["skim"] == settings
    assert loaded(node, files, "model-int8.onnx") | {"skim": None} == loaded(node, files, "model.onnx") | {"skim": None}
    assert loaded(node, files, "model-int8.onnx")["skim"] == settings | own
    assert loaded(node, files, "model.onnx")["session"] == "model.safetensors"


def test_a_model_of_another_format_is_refused(node: Node) -> None:
    assert "format 2" in loaded(node, {"export.json": {"format": 2}}, "model.onnx")


@pytest.mark.slow
def test_the_engine_answers_as_python_does_with_the_shipped_model(
    node_with_onnx: Node, answerer: QuestionAnswerer
) -> None:
    found = node_with_onnx.run(ANSWER_ALL, {"model": str(shipped_model()), "asked": QUESTIONS})
    for (question, text), each in zip(QUESTIONS, found, strict=True):
        wanted = answerer(question, text, return_trace=True)
        assert_same(each, wanted, text)
        assert_same_reading(each, wanted["trace"], text)


def test_the_long_text_has_several_windows_and_dropped_whole_ones(answerer: QuestionAnswerer) -> None:
    """What the questions are for: without it the tests above would show less."""
    trace = answerer(*QUESTIONS[-1], return_trace=True)["trace"]
    dropped = [all(block.dropped_in for block in window.blocks) for window in trace.windows]
    assert len(dropped) > 2
    assert any(dropped)


@pytest.mark.slow
def test_the_page_answers_as_python_does(node_with_onnx: Node, answerer: QuestionAnswerer, tmp_path: Path) -> None:
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        pytest.skip("needs Chromium")
    site = tmp_path / "site"
    node_with_onnx("build.mjs", str(shipped_model()), str(site))
    texts = [(question, text.replace("\r\n", "\n")) for question, text in QUESTIONS]  # as a text area has them
    (site / "questions.json").write_text(json.dumps(texts), encoding="utf-8")
    (site / "driver.html").write_text(DRIVER, encoding="utf-8")
    found = visit(browser, site, "driver.html", tmp_path / "profile")
    assert isinstance(found, list), found
    assert len(found) == len(texts)
    for (question, text), shown in zip(texts, found, strict=True):
        assert_same(shown, answerer(question, text), text)
        assert shown["reading"] == text
        assert shown["marked"] == shown["answer"]
        assert " ms, " in shown["cost"] and "% of " in shown["cost"]


# Fills in the page's own form, in a frame, and sends what the page shows.
DRIVER = """<!doctype html>
<iframe id="frame" src="index.html"></iframe>
<script type="module">
const frame = document.getElementById("frame");
await new Promise((loaded) => frame.addEventListener("load", loaded));
const element = (id) => frame.contentDocument.getElementById(id);
async function until(condition) {
  while (!condition()) {
    if (/can't|Error|no numbers/.test(element("status").textContent)) throw new Error(element("status").textContent);
    await new Promise((later) => setTimeout(later, 20));
  }
}
async function shown(question, text) {
  element("question").value = question;
  element("text").value = text;
  element("ask").click();
  await until(() => !element("result").hidden && !element("ask").disabled);
  const { start, end, score } = element("result").dataset;
  const marks = [...element("reading").querySelectorAll("mark")];
  return {
    start: Number(start), end: Number(end), score: Number(score), answer: element("answer").textContent,
    reading: element("reading").textContent, marked: marks.map((mark) => mark.textContent).join(""),
    cost: element("cost").textContent,
  };
}
let found = [];
try {
  await until(() => !element("ask").disabled);
  for (const pair of await (await fetch("questions.json")).json()) found.push(await shown(...pair));
} catch (error) {
  found = String(error);
}
await fetch("found", { method: "POST", body: JSON.stringify(found) });
</script>
"""


class Site(SimpleHTTPRequestHandler):
    """Serves a folder, and takes in what a page sends."""

    def __init__(self, sent: "Queue[Any]", *args: Any, **kwargs: Any) -> None:
        self.sent = sent
        super().__init__(*args, **kwargs)

    def do_POST(self) -> None:
        self.sent.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing, as what is served is no news."""


@contextmanager
def serving(folder: Path, sent: "Queue[Any]") -> Iterator[int]:
    """Serve a folder on this machine alone; gives the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Site, sent, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def visit(browser: str, site: Path, page: str, profile: Path) -> Any:
    """What a page of a folder sends when a browser without a window and without a network opens it."""
    sent: Queue[Any] = Queue()
    with serving(site, sent) as port:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        alone = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-background-networking"]
        address = f"http://127.0.0.1:{port}/{page}"
        opened = subprocess.Popen(
            [browser, *options, *alone, f"--user-data-dir={profile}", address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return sent.get(timeout=300)
        except Empty:
            return "the page sent nothing"
        finally:
            opened.terminate()
            opened.wait(30)
