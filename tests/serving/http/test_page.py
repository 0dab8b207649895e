"""The page in a browser: what it shows, what it sends, and what it does when things go wrong.

Skipped where Playwright or Chromium is missing; nothing is downloaded. With ``BLOCKSKIM_SCREENSHOTS`` set to a folder,
pictures are left there.
"""

import os
import shutil
from pathlib import Path

import pytest

from http_calls import Site, listening, until
from served import QUESTION, TEXT, plain_answerer

playwright = pytest.importorskip("playwright.sync_api")
from blockskim.serving.engine import Engine  # noqa: E402

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="needs Chromium")]
SECONDS = 60_000
HOSTILE = (
    'The <b>kite</b> nests & <script>window.hit = 1</script><img src=x onerror="window.hit = 2"> in Wales. 🪁 Ünd.'
)


@pytest.fixture(scope="module")
def browser():
    options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
    with playwright.sync_playwright() as run:
        opened = run.chromium.launch(executable_path=BROWSER, args=options, timeout=SECONDS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def served():
    site = Site(engine=Engine(plain_answerer(points={"exact": 0.0, "fast": 0.9})), max_body=50_000)
    with listening(site.app) as url:
        yield site, url
    site.close()


@pytest.fixture
def open_page(browser):
    """Opens a page, and fails when its script did."""
    contexts, errors = [], []

    def opened(url, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(SECONDS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if "Content Security" in said.text else None)
        page.goto(url, timeout=SECONDS)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


def wait(page, condition):
    """Wait until an expression is true. The page's policy forbids what Playwright's own way of waiting does."""
    until(lambda: page.evaluate(condition))


def ask(page, question=QUESTION, text=TEXT * 4):
    page.get_by_label("Question").fill(question)
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Ask").click()
    wait(page, "!document.getElementById('ask').disabled")


def shown_text(page):
    """The text as the page shows it, without the numbers of layers."""
    return page.evaluate("""() => {
      const copy = document.querySelector(".text").cloneNode(true);
      for (const number of copy.querySelectorAll("sup")) number.remove();
      return copy.textContent;
    }""")


def picture(page, name):
    folder = os.environ.get("BLOCKSKIM_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def test_a_question_is_answered_and_the_text_shows_what_was_read(served, open_page):
    site, url = served
    page = open_page(url)
    ask(page)
    expected = site.answerer.search(QUESTION, {"text": TEXT * 4}, top_k=3, handle_impossible_answer=True)
    found = page.locator("#answers .found").all_text_contents()
    assert found == [answer["answer"] or "No answer" for answer in expected.answers]
    assert shown_text(page) == TEXT * 4
    kept = page.locator(".text .kept").count()
    gone = page.locator(".text .gone").count()
    assert kept and gone
    assert "times fewer FLOPs" in page.locator("#cost").text_content()
    assert "read to the end" in page.locator("#legend").text_content()
    picture(page, "answered")


def test_the_mark_of_an_answer_is_gone_to(served, open_page):
    page = open_page(served[1])
    ask(page)
    page.get_by_role("button", name="Show in the text").first.click()
    focused = page.evaluate("document.activeElement.tagName")
    assert focused == "MARK"


def test_the_operating_point_is_sent(served, open_page):
    page = open_page(served[1])
    wait(page, "document.querySelectorAll('#point option').length === 4")
    sent = []
    page.on("request", lambda request: sent.append(request.post_data_json) if request.method == "POST" else None)
    for choice in ("Operating point: exact", "Operating point: fast", "Nothing: read it all"):
        page.get_by_label("How much to skip").select_option(choice)
        ask(page)
    assert [body["parameters"].get("point") for body in sent] == ["exact", "fast", None]
    assert sent[2]["parameters"]["dense"] is True
    assert page.locator(".text .gone").count() == 0


def test_reading_everything_is_compared(served, open_page):
    page = open_page(served[1])
    page.get_by_label("Read all of it as well").check()
    ask(page)
    assert "reading everything took" in page.locator("#cost").text_content()


def test_no_answer(open_page):
    site = Site(seconds=20)
    original = site.answerer.model.score_windows

    def sure_of_nothing(inputs, thresholds=None, asking=None):
        scores = original(inputs, thresholds)
        scores.start_logits[:, 0] = scores.end_logits[:, 0] = 99
        return scores

    site.answerer.model.score_windows = sure_of_nothing
    with listening(site.app) as url:
        page = open_page(url)
        ask(page)
        assert page.locator("#answers .found").first.text_content() == "No answer"
        assert page.get_by_role("status").text_content() == "No answer."
    site.close()


def test_a_hostile_text_is_text(served, open_page):
    page = open_page(served[1])
    ask(page, "<img src=x onerror='window.hit = 3'>?", HOSTILE)
    assert page.evaluate("window.hit") is None
    assert page.locator(".text img, .text script, .text b, #asked img").count() == 0
    assert page.locator("#asked").text_content() == "<img src=x onerror='window.hit = 3'>?"
    assert shown_text(page) == HOSTILE


def test_files_with_names_of_their_own(served, open_page):
    page = open_page(served[1])
    files = [
        {"name": "<b>a.txt", "mimeType": "text/plain", "buffer": TEXT.encode()},
        {"name": "<b>a.txt", "mimeType": "text/plain", "buffer": TEXT[9:].encode()},
        {"name": "bad.bin", "mimeType": "text/plain", "buffer": b"\xff\xfe\xfa"},
    ]
    page.locator("#files").set_input_files(files)
    wait(page, "document.querySelectorAll('#list li').length === 2")
    assert page.get_by_role("alert").text_content() == "bad.bin is no UTF-8 text."
    page.get_by_label("Question").fill(QUESTION)
    page.get_by_role("button", name="Ask").click()
    wait(page, "!document.getElementById('result').hidden")
    assert page.locator("h3").all_text_contents() == ["<b>a.txt", "<b>a.txt (2)"]
    page.get_by_role("button", name="Remove <b>a.txt", exact=True).click()
    assert page.locator("#list li").count() == 1


def test_a_text_beside_a_file_of_its_name(served, open_page):
    page = open_page(served[1])
    file = {"name": "text", "mimeType": "text/plain", "buffer": TEXT.encode()}
    page.locator("#files").set_input_files([file])
    wait(page, "document.querySelectorAll('#list li').length === 1")
    ask(page)
    assert page.locator("h3").all_text_contents() == ["text (2)", "text"]


@pytest.mark.parametrize(
    ("question", "text", "sentence"),
    [
        (" ", TEXT, "The question is empty."),
        (QUESTION, " ", "There is nothing to read: paste a text or add files."),
        (QUESTION, "x" * 60_000, "this service takes 50,000 at once"),
    ],
)
def test_what_can_not_be_asked_is_said(served, open_page, question, text, sentence):
    page = open_page(served[1])
    ask(page, question, text)
    assert sentence in page.get_by_role("alert").text_content()


def test_a_service_that_is_away(open_page):
    site = Site()
    with listening(site.app) as url:
        page = open_page(url)
        ask(page)
    ask(page)
    assert page.get_by_role("alert").text_content() == "The service can not be reached. Is it still running?"
    assert page.get_by_role("button", name="Ask").is_enabled()
    picture(page, "away")
    site.close()


def test_a_service_that_refuses(open_page):
    site = Site(seconds=0.2)
    site.answerer.model.gate.clear()
    with listening(site.app) as url:
        page = open_page(url)
        ask(page)
        assert "within 0." in page.get_by_role("alert").text_content()
        site.answerer.model.gate.set()
    site.close()


def test_a_service_with_a_key(open_page):
    site = Site(api_key="secret")
    with listening(site.app) as url:
        page = open_page(url)
        page.get_by_label("Key of this service").fill("secret")
        ask(page)
        assert page.locator("#answers .found").count() == 3
    site.close()


def test_the_keyboard_is_enough(served, open_page):
    page = open_page(served[1])
    page.keyboard.press("Tab")
    page.keyboard.type(QUESTION)
    page.keyboard.press("Tab")
    page.keyboard.type("The nest is in Wales.")
    page.keyboard.press("Control+Enter")
    wait(page, "!document.getElementById('result').hidden")
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"files", "point", "count", "impossible", "compare", "ask", "text"} <= set(reached)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1200])
def test_narrow_screens_and_both_schemes(served, open_page, scheme, width):
    page = open_page(served[1], color_scheme=scheme, viewport={"width": width, "height": 800})
    ask(page, text=TEXT * 3 + "x" * 300)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    picture(page, f"{scheme}-{width}")
    ratios = page.evaluate(CONTRASTS)
    assert len(ratios) > 4
    assert min(ratios.values()) >= 4.5, ratios


# The contrast of each kind of text to what is behind it, as WCAG has it.
CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parts = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (color) => {
    const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = parts(color).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (one) => {
    for (let node = one; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if (parts(color)[3] === 255) return color;
    }
    return "white";
  };
  const found = {};
  const every = document.querySelectorAll(".kept, .gone, mark, .soft, button, h1, #cost, .cite");
  for (const [place, one] of [...every].entries()) {
    if (!one.offsetParent) continue;
    const [a, b] = [light(getComputedStyle(one).color), light(behind(one))];
    found[`${one.className || one.tagName} ${place}`] = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }
  return found;
}"""
