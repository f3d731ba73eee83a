/**
 * @module Makes plain imports of those whose URL is known only at run time: tsc wraps the URL in a
 * helper that would turn the end `.ts` of a relative one into `.js`. Bundlers warn of the helper.
 * Lines stay where they are, for the source maps.
 */

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const rootPath = fileURLToPath(new URL("../", import.meta.url));
const helper = /^var __rewriteRelativeImportExtension = [^]*?^};$/m;
const call = /\bimport\(__rewriteRelativeImportExtension\(([^()]*)\)\)/g;

for (const folder of process.argv.slice(2)) {
  for (const name of readdirSync(`${rootPath}${folder}/src`, {
    recursive: true,
    encoding: "utf8",
  })) {
    if (!name.endsWith(".js")) continue;
    const path = `${rootPath}${folder}/src/${name}`;
    const text = readFileSync(path, "utf8");
    if (!helper.test(text)) continue;
    const blank = (/** @type {string} */ lines) => lines.replace(/[^\n]+/g, "");
    writeFileSync(path, text.replace(helper, blank).replace(call, "import($1)"));
  }
}
