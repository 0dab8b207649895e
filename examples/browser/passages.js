// What of a long text is read at all, as in src/blockskim/method/first_stage.py: its blocks are compared with the question
// by word embeddings, before any layer.

const LEAST_TOKENS = 1536;
const [DEVIATIONS, REACH, DECAY] = [2, 6, 0.88];

/** How numbers are stored in a safetensors file: in what array, and what makes a number of an entry. */
const FORMATS = {
  F32: [Float32Array, (value) => value],
  F64: [Float64Array, (value) => value],
  F16: [Uint16Array, fromHalf],
  BF16: [Uint16Array, (bits) => new Float32Array(Uint32Array.of(bits << 16).buffer)[0]],
};

/** A function that gives the embedding of a token id, from the bytes of a safetensors file and the matrix's name. */
export function readEmbeddings(bytes, name) {
  const data = 8 + Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const tensor = JSON.parse(new TextDecoder().decode(bytes.subarray(8, data)))[name];
  if (!FORMATS[tensor?.dtype]) throw new Error(`the weights hold no word embeddings ${name}`);
  const [Numbers, decoded] = FORMATS[tensor.dtype];
  const [first, end] = tensor.data_offsets;
  // A copy, so that all other weights can be let go.
  const numbers = new Numbers(new Uint8Array(bytes.subarray(data + first, data + end)).buffer);
  const width = tensor.shape[1];
  return (id) => Float32Array.from(numbers.subarray(id * width, (id + 1) * width), decoded);
}

/**
 * The tokens of a text that are read, and the rest of it.
 *
 * Gives { read, unread, step }: of a long text each token in read has the number of its passage, beyond which no answer
 * goes on; unread are blocks as answer gives them; windows follow each other by a multiple of step tokens.
 */
export function choosePassages({ manifest, skim, embed }, tokens, asked, thresholds) {
  const whole = { read: tokens, unread: [], step: 1 };
  const size = manifest.block_size;
  // Where everything is asked for, everything is read.
  if (!embed || tokens.length <= LEAST_TOKENS || !thresholds.some((threshold) => threshold > 0)) return whole;
  const scores = blockScores(tokens.map((token) => token.id), asked, size, embed);
  const chosen = chosenBlocks(scores, skim.document_threshold, Math.floor(LEAST_TOKENS / size));
  if (chosen.every(Boolean)) return whole;
  const [read, unread] = [[], []];
  for (const [block, stays] of chosen.entries()) {
    const own = tokens.slice(block * size, (block + 1) * size);
    if (stays) read.push(...own.map((token) => ({ ...token, passage: unread.length })));
    else unread.push({ start: own[0].start, end: own.at(-1).end, droppedIn: 0 });
  }
  return { read, unread, step: size };
}

/** The blocks to be read: those with at least a share of the best one's score, and so many at least. */
export function chosenBlocks(scores, threshold, least) {
  const best = scores.reduce((one, other) => Math.max(one, other), 0);
  const wanted = scores.filter((score) => score >= threshold * best).length;
  // Sorting is stable: among equals the first come first.
  const order = [...scores.keys()].sort((one, other) => scores[other] - scores[one]);
  const chosen = new Set(order.slice(0, Math.max(wanted, least)));
  return Array.from(scores, (_, block) => chosen.has(block));
}

/** How well each block of a text fits a question, both given as token ids. */
export function blockScores(context, question, size, embed) {
  const distinct = [...new Set(context)];
  const columns = new Map(distinct.map((id, column) => [id, column]));
  const places = context.map((id) => columns.get(id));
  const there = distinct.map((id) => normalised(embed(id)));
  const blocks = Math.ceil(context.length / size);
  const scores = new Float64Array(blocks);
  for (const id of new Set(question)) {
    const alike = similarities(normalised(embed(id)), there);
    if (columns.has(id)) alike[columns.get(id)] = 1;
    const found = new Float32Array(blocks);
    for (const [place, column] of places.entries()) {
      const block = Math.floor(place / size);
      found[block] = Math.max(found[block], alike[column]);
    }
    // The inverse document frequency of a likeness, with blocks for documents.
    const weight = Math.max(0, Math.log(blocks / Math.max(sum(found), 0.5)));
    for (const [block, near] of spread(found).entries()) scores[block] += weight * near;
  }
  return scores;
}

/** From 0, for likeness that any two words have, to 1: one embedding with each of some. */
function similarities(asked, there) {
  const cosines = Float32Array.from(there, (other) => product(asked, other));
  const mean = sum(cosines) / cosines.length;
  const variance = cosines.reduce((total, cosine) => total + (cosine - mean) ** 2, 0) / cosines.length;
  const floor = mean + DEVIATIONS * Math.sqrt(variance);
  return cosines.map((cosine) => Math.min(1, Math.max(0, (cosine - floor) / Math.max(1 - floor, 1e-3))));
}

/** The best likeness in each block or near it. */
function spread(found) {
  return found.map((own, block) => {
    let best = own;
    for (let distance = 1; distance <= REACH; distance++) {
      const near = Math.max(found[block - distance] ?? 0, found[block + distance] ?? 0);
      best = Math.max(best, Math.fround(near * Math.fround(DECAY ** distance)));
    }
    return best;
  });
}

function normalised(row) {
  const length = Math.max(Math.sqrt(product(row, row)), 1e-12);
  return row.map((value) => value / length);
}

function product(one, other) {
  let total = 0;
  for (let place = 0; place < one.length; place++) total += one[place] * other[place];
  return total;
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

/** The number that 16 bits stand for, of which five are the exponent. */
function fromHalf(bits) {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size = exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24;
  return bits >> 15 ? -size : size;
}
