// Skimming question answering with a model that `blockskim export` made. Runs in browsers and in Node.
//
// The graph drops blocks of the text by itself; what is here goes around it: windows, the best span, and what was read.
// Places in texts are JavaScript's, in UTF-16 units: text.slice(start, end) === answer.

import { choosePassages, readEmbeddings } from "./passages.js";
import { readTokenizer } from "./wordpiece.js";
import { alignToWords, trimBlanks } from "./words.js";

const FORMAT = 1;
const [GRAPH, INT8_GRAPH] = ["model.onnx", "model-int8.onnx"];

/** How texts are cut into windows, and how long an answer may be; all in tokens. */
const READING = { maxLength: 384, stride: 128, maxQuestion: 64, maxAnswer: 15 };

/**
 * Load an exported model.
 *
 * @param ort the module of onnxruntime-web or onnxruntime-node
 * @param read gives the bytes of a file of the exported directory, by its name: async (name) => Uint8Array
 * @param graph which graph of the directory to run: model.onnx, or model-int8.onnx where there is one
 */
export async function loadModel(ort, read, graph = GRAPH) {
  const parsed = async (name) => JSON.parse(new TextDecoder().decode(await read(name)));
  const manifest = await parsed("export.json");
  if (manifest.format !== FORMAT) throw new Error(`the model is of format ${manifest.format}, not ${FORMAT}`);
  const { skim } = await parsed("config.json");
  // Where an int8 graph was calibrated, it has thresholds of its own.
  if (graph === INT8_GRAPH) Object.assign(skim, manifest.int8_settings);
  const tokenize = readTokenizer(await parsed("tokenizer.json"), manifest.split_special_tokens);
  const externalData = [];
  for (const path of Object.keys(manifest.weights)) externalData.push({ path, data: await read(path) });
  // Blocks that are cut from the start of the input would lie across passages.
  const choosing = skim.document_threshold > 0 && manifest.alignment === "context";
  const embed = choosing ? readEmbeddings(externalData[0].data, manifest.embeddings) : null;
  const session = await ort.InferenceSession.create(await read(graph), { externalData });
  const layers = manifest.trained_predictors ? manifest.skim_layers : [];
  return { ort, session, manifest, skim, layers, tokenize, embed };
}

/**
 * Answer a question from a text of any length. Of a long one those passages are read that fit the question.
 *
 * Thresholds are one number for all layers or one for each that has a predictor; 0 reads everything. Left out, they are
 * the model's own; those of its operating points are in model.skim.points.
 *
 * Gives { answer, start, end, score, windows, blocks, kept, milliseconds }: the score is a probability; blocks are
 * { start, end, droppedIn } with the layer that dropped it, 0 for what was not read and null for what was read to the
 * end; kept is the share of these.
 */
export async function answer(model, question, text, { thresholds = model.skim.thresholds, ...reading } = {}) {
  const started = performance.now();
  for (const part of [question, text]) {
    if (!part.trim()) throw new Error("there must be a question and a text");
    if (!part.isWellFormed()) throw new Error("the text holds half of a surrogate pair");
  }
  const lengths = { ...READING, ...reading };
  const [room, asked] = [fit(model, lengths), model.tokenize(question)];
  const own = perLayer(model, thresholds);
  // A question of control characters alone has no token.
  const ids = tokenIds(asked.length ? asked : model.tokenize("?")).slice(0, room.question);
  const { read, unread, step } = choosePassages(model, model.tokenize(text), ids, own);
  const windows = cutWindows(model, ids, read, room, step);
  const runs = await runAll(model, windows, own);
  const found = bestAnswer(text, read, windows, runs, lengths.maxAnswer);
  const blocks = windows.flatMap((window, index) => fates(model, read, window, runs[index])).concat(unread);
  const whole = blocks.filter((block) => block.droppedIn === null).length;
  const kept = blocks.length ? whole / blocks.length : 1;
  return { ...found, windows: windows.length, blocks, kept, milliseconds: performance.now() - started };
}

/** A threshold for each layer that has a predictor. */
function perLayer({ layers }, thresholds) {
  if (!Array.isArray(thresholds)) return layers.map(() => thresholds);
  if (layers.length && thresholds.length !== layers.length) {
    throw new Error(`${thresholds.length} thresholds for ${layers.length} layers with a predictor`);
  }
  return layers.map((_, place) => thresholds[place]);
}

/** How many tokens fit beside special ones, how many of them a question may take, and by how many windows overlap. */
function fit({ manifest }, { maxLength, stride, maxQuestion }) {
  const { template, position_limit: limit } = manifest;
  const special = template.before.length + template.between.length + template.after.length;
  const most = Math.min(maxLength, limit ?? maxLength) - special;
  const question = Math.max(1, Math.min(maxQuestion, Math.floor(most / 2)));
  if (most <= question) throw new Error(`windows of ${maxLength} tokens leave no room for a text`);
  return { most, question, overlap: Math.max(0, Math.min(stride, Math.floor((most - question) / 2))) };
}

/** Overlapping windows over a tokenised text, each with the question before it and all that the graph asks for. */
function cutWindows(model, asked, tokens, { most, overlap }, stepOf) {
  const { template } = model.manifest;
  const head = [...template.before, ...asked, ...template.between];
  const room = most - asked.length;
  const plain = room - overlap;
  const step = room > stepOf ? Math.max(Math.floor(plain / stepOf), 1) * stepOf : plain;
  const windows = [];
  for (let from = 0, end = 0; !windows.length || end < tokens.length; from += step) {
    end = Math.min(from + room, tokens.length);
    const ids = [...head, ...tokenIds(tokens.slice(from, end)), ...template.after];
    const window = { from, ids, context: head.length, size: end - from };
    windows.push({ ...window, question: questionPlaces(template, asked, window), ...droppable(model, window) });
  }
  return windows;
}

function tokenIds(tokens) {
  return tokens.map((token) => token.id);
}

/** Places of a window's question tokens without special ones; all outside of the text if there are none. */
function questionPlaces({ before, between }, asked, { ids, context, size }) {
  const special = between.at(-1) ?? asked.at(-1);
  const inside = asked.flatMap((id, place) => (id === special ? [] : [before.length + place]));
  const places = inside.filter((place) => place > 0);
  return places.length ? places : [...ids.keys()].filter((place) => place < context || place >= context + size);
}

/** Where the blocks that may be dropped begin in a window, and how many tokens they hold together. */
function droppable({ manifest }, { ids, context, size }) {
  const whole = manifest.alignment === "sequence";
  const [start, end] = whole ? [0, ids.length] : [context, context + size];
  let [first, count] = [0, 0];
  for (let place = start; place < end; place += manifest.block_size) {
    const behind = Math.min(place + manifest.block_size, end);
    // A block with any question or special token in it stays.
    if (place < context || behind > context + size) continue;
    if (!count) first = place;
    count += behind - place;
  }
  return { first, count };
}

/** Run the graph over all windows of a text, of which at least one block stays: the likeliest, if no other does. */
async function runAll(model, windows, thresholds) {
  const runs = [];
  for (const window of windows) runs.push(await run(model, window, thresholds, windows.length === 1));
  const last = lastStanding(windows, runs);
  if (last !== -1) runs[last] = await run(model, windows[last], thresholds, true);
  return runs;
}

/** Of the windows with blocks, if none of them is left, the one whose likeliest block was left last; else -1. */
function lastStanding(windows, runs) {
  const having = [...windows.keys()].filter((index) => windows[index].count > 0);
  if (having.some((index) => runs[index].places.length)) return -1;
  for (let layer = runs[0].probabilities.length - 1; layer >= 0; layer--) {
    const best = having.map((index) => Math.max(-1, ...runs[index].probabilities[layer]));
    const likeliest = Math.max(...best);
    if (likeliest >= 0) return having[best.indexOf(likeliest)];
  }
  return -1;
}

/** Run the graph over one window. */
async function run({ ort, session, manifest, layers }, window, thresholds, keepOne) {
  const whole = (values, dims = [values.length]) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), dims);
  const inputs = {
    input_ids: whole(window.ids),
    token_type_ids: whole(window.ids.map((_, place) => manifest.template.types?.[place < window.context ? 0 : 1] ?? 0)),
    question: whole(window.question),
    first: whole([window.first], []),
    count: whole([window.count], []),
    thresholds: new ort.Tensor("float32", Float32Array.from(thresholds), [thresholds.length]),
    keep_one: new ort.Tensor("bool", [keepOne], []),
  };
  const outputs = await session.run(Object.fromEntries(session.inputNames.map((name) => [name, inputs[name]])));
  if (outputs.logits.data.some(Number.isNaN)) throw new Error("the model computes no numbers: its weights are damaged");
  return {
    logits: outputs.logits.data,
    places: Array.from(outputs.places.data, Number),
    probabilities: layers.map((layer) => outputs[`probabilities_${layer}`].data),
    kept: layers.map((layer) => new Set(Array.from(outputs[`kept_${layer}`].data, Number))),
  };
}

/** The best span over all windows, in whole words, and its probability; "no answer" where there is no span. */
function bestAnswer(text, tokens, windows, runs, maxAnswer) {
  let best = null;
  for (const [index, window] of windows.entries()) {
    for (const span of spans(text, tokens, window, runs[index], maxAnswer)) if (isBetter(span, best)) best = span;
  }
  const nothing = noAnswer(runs);
  const scale = logNormalizer(windows, runs, nothing);
  const score = best?.score ?? nothing[0] + nothing[1];
  const [start, end] = best ? alignToWords(text, best.start, best.end) : [0, 0];
  return { answer: text.slice(start, end), start, end, score: Math.exp(Math.min(0, score - scale)) };
}

/** All spans of the tokens of a text that are left in a window, each within a passage. */
function* spans(text, tokens, { from, context, size }, { places, logits }, maxAnswer) {
  const inside = (row) => places[row] >= context && places[row] < context + size;
  const token = (row) => tokens[from + places[row] - context];
  for (let first = 0; first < places.length; first++) {
    for (let last = first; inside(last) && places[last] < places[first] + maxAnswer; last++) {
      if (token(last).passage !== token(first).passage) break;
      const [start, end] = trimBlanks(text, token(first).start, token(last).end);
      // Where scores are equal in single precision, places decide.
      if (start < end) yield { score: Math.fround(logits[2 * first] + logits[2 * last + 1]), start, end };
    }
  }
}

/** Among equals the span that begins first is better, and of those that begin together the shortest. */
function isBetter(span, best) {
  if (!best || span.score !== best.score) return !best || span.score > best.score;
  return span.start < best.start || (span.start === best.start && span.end < best.end);
}

/** Start and end logit of "no answer", where a window begins: the smallest of all windows that are left. */
function noAnswer(runs) {
  const found = runs.filter(({ places }) => places[0] === 0).map(({ logits }) => [logits[0], logits[1]]);
  return found.reduce((one, other) => (other[0] + other[1] < one[0] + one[1] ? other : one), [Infinity, Infinity]);
}

/** What turns scores into logarithms of probabilities: all starts share a scale and all ends, "no answer" with them. */
function logNormalizer(windows, runs, nothing) {
  return [0, 1].reduce((scale, side) => {
    const logits = windows.flatMap(({ context, size }, index) =>
      runs[index].places.flatMap((place, row) =>
        place >= context && place < context + size ? [runs[index].logits[2 * row + side]] : [],
      ),
    );
    return scale + logSumExp(nothing[side] < Infinity ? [...logits, nothing[side]] : logits);
  }, 0);
}

function logSumExp(values) {
  const peak = values.reduce((one, other) => Math.max(one, other), -Infinity);
  return peak + Math.log(values.reduce((sum, value) => sum + Math.exp(value - peak), 0));
}

/** The blocks of a window as characters of the text, each with the layer that dropped it. */
function fates({ layers, manifest }, tokens, { from, context, first, count }, { kept }) {
  const blocks = [];
  for (let number = 0; number * manifest.block_size < count; number++) {
    const begin = from + first - context + number * manifest.block_size;
    const last = Math.min(begin + manifest.block_size, from + first - context + count) - 1;
    const gone = kept.findIndex((numbers) => !numbers.has(number));
    blocks.push({ start: tokens[begin].start, end: tokens[last].end, droppedIn: layers[gone] ?? null });
  }
  return blocks;
}
