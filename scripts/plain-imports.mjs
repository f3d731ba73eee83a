/**
 * @module Makes plain imports of those whose URL is known only at run time: tsc wraps the URL in a
 * helper that would turn the end `.ts` of a relative one into `.js`. Bundlers warn of the helper.
 * Lines stay where they are, for the source maps.
 *
 * In declarations it leaves out over which kind of buffer a typed array is: to compilers before 5.7
 * typed arrays are no generic types.
 */

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const rootPath = fileURLToPath(new URL("../", import.meta.url));
const helper = /^var __rewriteRelativeImportExtension = [^]*?^};$/m;
const buffers = /\b([A-Z]\w+\dArray)<(?:Shared)?ArrayBuffer>/g;
const call = /\bimport\(__rewriteRelativeImportExtension\(([^()]*)\)\)/g;

for (const folder of process.argv.slice(2)) {
  for (const name of readdirSync(`${rootPath}${folder}/src`, {
    recursive: true,
    encoding: "utf8",
  })) {
    const path = `${rootPath}${folder}/src/${name}`;
    if (!/(?:\.js|\.d\.ts)$/.test(name)) continue;
    const text = readFileSync(path, "utf8");
    if (name.endsWith(".d.ts")) {
      const plain = text.replace(buffers, "$1");
      if (plain !== text) writeFileSync(path, plain);
      continue;
    }
    if (!helper.test(text)) continue;
    const blank = (/** @type {string} */ lines) => lines.replace(/[^\n]+/g, "");
    writeFileSync(path, text.replace(helper, blank).replace(call, "import($1)"));
  }
}
