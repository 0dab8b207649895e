// Puts the page, the library that it needs and an exported model into one folder that any web server can serve:
//
//   npm run build -- [MODEL [OUTPUT]]

import { cp, readFile } from "node:fs/promises";
import { join } from "node:path";

const PAGE = ["index.html", "style.css", "page.js", "blockskim.js", "passages.js", "wordpiece.js", "words.js"];
const LIBRARY = ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"];

const here = import.meta.dirname;
// The model that comes with the library, unless another is named.
const [model = join(here, "../../src/blockskim/default_model"), output = join(here, "dist")] = process.argv.slice(2);

const manifest = JSON.parse(await readFile(join(model, "export.json"), "utf8"));
for (const name of PAGE) await cp(join(here, name), join(output, name));
for (const name of LIBRARY) {
  await cp(join(here, "node_modules/onnxruntime-web/dist", name), join(output, "vendor", name));
}
for (const name of ["export.json", "config.json", "tokenizer.json", "model.onnx", ...Object.keys(manifest.weights)]) {
  await cp(join(model, name), join(output, "model", name));
}
console.log(`the page is in ${output}`);
