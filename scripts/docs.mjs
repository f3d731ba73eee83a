/**
 * @module `npm run docs`: writes the documents that are generated from the code. `npm run docs --
 * invariants locking` writes only these two; the others take longer.
 */

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { documentPaths, isDocument, renderDocs } from "./docs/generated.mjs";

const wanted = process.argv.slice(2);
const odd = wanted.find((part) => !isDocument(part));
if (odd !== undefined) {
  process.stderr.write(
    `npm run docs: there is no "${odd}"; there are ${documentPaths.join(", ")}\n`,
  );
  process.exit(2);
}
for (const [path, text] of await renderDocs(wanted.length === 0 ? undefined : wanted)) {
  writeFileSync(fileURLToPath(new URL(`../${path}`, import.meta.url)), text);
  process.stdout.write(`${path}: ${text.length} characters\n`);
}
