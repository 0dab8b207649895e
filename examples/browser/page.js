// The page: takes a question and a text, shows the answer and what was read.

import * as ort from "./vendor/ort.wasm.bundle.min.mjs";
import { answer, loadModel } from "./blockskim.js";

// More threads take shared memory, which a page has only from a server that isolates it from all others.
ort.env.wasm.numThreads = 1;

const element = (id) => document.getElementById(id);

/** The bytes of a file of the exported model, which lies beside the page. */
async function read(name) {
  const response = await fetch(`model/${name}`);
  if (!response.ok) throw new Error(`model/${name} can't be read: ${response.status} ${response.statusText}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Thresholds by what is chosen; undefined for the model's own. */
function chosenThresholds(model) {
  const point = element("point").value;
  return point === "dense" ? 0 : model.skim.points?.[point.replace("point:", "")];
}

async function ask(model) {
  const [question, text] = [element("question").value, element("text").value];
  element("ask").disabled = true;
  element("result").hidden = true;
  element("status").textContent = "Reading…";
  // So that this is seen before the processor is busy.
  await new Promise((painted) => setTimeout(painted, 20));
  try {
    const found = await answer(model, question, text, { thresholds: chosenThresholds(model) });
    show(text, found);
    element("status").textContent = "";
  } catch (error) {
    element("status").textContent = error.message;
  }
  element("ask").disabled = false;
}

/** Show an answer, what it took, and the text with the answer and all blocks marked. */
function show(text, found) {
  const place = found.answer ? `characters ${found.start} to ${found.end}, ` : "";
  element("answer").textContent = found.answer || "(no answer)";
  element("where").textContent = `${place}probability ${found.score.toFixed(3)}`;
  const share = `${Math.round(100 * found.kept)} % of ${found.blocks.length} blocks read to the end`;
  const windows = found.windows === 1 ? "one window" : `${found.windows} windows`;
  element("cost").textContent = `${Math.round(found.milliseconds)} ms, ${windows}, ${share}`;
  element("reading").replaceChildren(...marked(text, found));
  Object.assign(element("result").dataset, { start: found.start, end: found.end, score: found.score });
  element("result").hidden = false;
}

/** The text in pieces, each marked by what became of it. */
function marked(text, { start, end, blocks }) {
  const edges = new Set([0, text.length, start, end, ...blocks.flatMap((block) => [block.start, block.end])]);
  const places = [...edges].sort((one, other) => one - other);
  return places.slice(1).map((behind, index) => {
    const piece = text.slice(places[index], behind);
    if (start <= places[index] && behind <= end) return tagged("mark", "answer", "the answer", piece);
    // Where windows overlap, what was read longest counts.
    const owners = blocks.filter((block) => block.start <= places[index] && behind <= block.end);
    const layers = owners.map((block) => block.droppedIn ?? Infinity);
    if (!layers.length || !piece.trim()) return piece;
    const layer = Math.max(...layers);
    if (layer === Infinity) return tagged("span", "kept", "read to the end", piece);
    return tagged("span", "gone", layer ? `dropped in layer ${layer}` : "not read", piece);
  });
}

function tagged(name, kind, title, text) {
  return Object.assign(document.createElement(name), { className: kind, title, textContent: text });
}

try {
  const model = await loadModel(ort, read);
  for (const name of Object.keys(model.skim.points ?? {})) {
    element("point").add(new Option(`operating point ${name}`, `point:${name}`));
  }
  element("form").addEventListener("submit", (event) => {
    event.preventDefault();
    ask(model);
  });
  element("ask").disabled = false;
  element("status").textContent = "";
} catch (error) {
  element("status").textContent = `The model can't be loaded: ${error.message}`;
}
