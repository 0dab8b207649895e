// Times one question over a text, everything read against the model's operating points, in turns, in Node:
//
//   npm run time -- MODEL FILE QUESTION [ROUNDS]

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as ort from "onnxruntime-web";
import { answer, loadModel } from "./blockskim.js";

const [directory, file, question, rounds = "9"] = process.argv.slice(2);
if (!question) {
  console.error("usage: npm run time -- MODEL FILE QUESTION [ROUNDS]");
  process.exit(1);
}
const text = await readFile(file, "utf8");
const model = await loadModel(ort, (name) => readFile(join(directory, name)));
const runs = { everything: 0, "own thresholds": model.skim.thresholds, ...model.skim.points };
const times = Object.fromEntries(Object.keys(runs).map((name) => [name, []]));
// A first round warms up and does not count.
for (let round = 0; round <= Number(rounds); round++) {
  for (const [name, thresholds] of Object.entries(runs)) {
    const found = await answer(model, question, text, { thresholds });
    if (round) times[name].push(found);
  }
}
const median = (values) => values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)];
for (const [name, found] of Object.entries(times)) {
  const { kept, blocks, windows, answer: text } = found[0];
  const milliseconds = median(found.map((each) => each.milliseconds)).toFixed(0);
  const ratio = median(found.map((each, round) => times.everything[round].milliseconds / each.milliseconds)).toFixed(2);
  const share = `kept ${(100 * kept).toFixed(0)} % of ${blocks.length} blocks in ${windows} windows`;
  console.log(`${name.padEnd(16)} ${milliseconds} ms, ${ratio}× as fast, ${share}: ${text}`);
}
