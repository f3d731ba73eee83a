/**
 * @module Finds a Chromium to run the browser tests in: $CHROMIUM, or the first of the usual names
 * on PATH.
 */

import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";

const commandNames: readonly string[] = [
  "chromium",
  "chromium-browser",
  "google-chrome",
  "google-chrome-stable",
  "chrome",
];

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** The program, or why there is none. */
export type ChromiumSearch =
  | { readonly path: string; readonly missing: undefined }
  | { readonly path: undefined; readonly missing: string };

/** A program that $CHROMIUM names is the only one that is looked for. */
export function findChromium(environment: NodeJS.ProcessEnv = process.env): ChromiumSearch {
  const chosen = environment["CHROMIUM"];
  if (chosen !== undefined && chosen !== "") {
    if (isProgram(chosen)) return { path: chosen, missing: undefined };
    return {
      path: undefined,
      missing: `no Chromium: $CHROMIUM names ${chosen}, which is no program`,
    };
  }
  const folders = (environment["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  for (const name of commandNames) {
    const found = folders.map((folder) => join(folder, name)).find(isProgram);
    if (found !== undefined) return { path: found, missing: undefined };
  }
  return { path: undefined, missing: "no Chromium here: install one, or name one in $CHROMIUM" };
}
