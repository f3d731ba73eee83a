/**
 * @module `npm run docs`: writes the documents that come from the code.
 */

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { renderDocs } from "./docs/generated.mjs";

for (const [path, text] of await renderDocs()) {
  writeFileSync(fileURLToPath(new URL(`../${path}`, import.meta.url)), text);
  process.stdout.write(`${path}: ${text.length} characters\n`);
}
