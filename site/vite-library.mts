/**
 * What the site and the live page alone have in common of their bundler's configuration: the
 * library is the built one of this repository.
 */

import { fileURLToPath } from "node:url";

function built(path: string): string {
  return fileURLToPath(new URL(`../dist/src/${path}`, import.meta.url));
}

export const libraryAlias = [
  { find: /^hmm-ts$/, replacement: built("index.js") },
  { find: /^hmm-ts\/driver$/, replacement: built("driver.js") },
  { find: /^hmm-ts\/webgpu$/, replacement: built("webgpu.js") },
  { find: /^hmm-ts\/worker$/, replacement: built("worker.js") },
];
