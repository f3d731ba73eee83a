/** @module Finds a Chromium to run the browser tests in: $CHROMIUM, or the first of the usual names on PATH. */

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

/** The program's path, or undefined when this machine has none. Throws when $CHROMIUM names something else. */
export function findChromium(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  const chosen = environment["CHROMIUM"];
  if (chosen !== undefined && chosen !== "") {
    if (isProgram(chosen)) return chosen;
    throw new Error(`Cannot run the Chromium that $CHROMIUM names: ${chosen} is no program`);
  }
  const folders = (environment["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  for (const name of commandNames) {
    const found = folders.map((folder) => join(folder, name)).find(isProgram);
    if (found !== undefined) return found;
  }
  return undefined;
}
