/**
 * @module Where the tests find what scripts/testing/install-tools.mjs has installed: other hosts,
 * compilers and bundlers.
 */

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The repository's root, from .build/test/. */
export const rootPath: string = fileURLToPath(new URL("../../", import.meta.url));

/** Why tests with the tools of a folder are skipped; undefined when the tools are there. */
export function missingTools(folder: string): string | undefined {
  if (existsSync(`${rootPath}${folder}/node_modules/.installed-lock`)) return undefined;
  return `${folder} is not installed (no network?): npm test does it, or npm ci --prefix ${folder}`;
}
