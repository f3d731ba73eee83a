/**
 * @module Our devices are drivers like any other: src/devices/ is made of the interface for drivers
 * alone, types included. What it needs and does not find there is public from then on, or is
 * arranged otherwise.
 */

import { importsOf } from "../imports.ts";
import { fileFromText, type ProjectFile } from "../project-file.ts";
import type { Finding, Rule } from "../rule.ts";

const devices = "src/devices/";
const drivers = "src/driver-interface.ts";

function checkFile(file: ProjectFile): Finding[] {
  return importsOf(file)
    .filter(({ path, specifier }) => {
      if (path === undefined) return !specifier.startsWith("node:");
      return !path.startsWith(devices) && path !== drivers;
    })
    .map(({ specifier, line }) => ({
      path: file.path,
      line,
      message: `imports ${specifier}; a device is made of ${drivers} alone`,
    }));
}

export const driversOnly: Rule = {
  name: "devices use what any driver may use, and nothing else of the core",
  check: (files) =>
    files
      .filter(({ path }) => path.startsWith(devices) && path.endsWith(".ts"))
      .flatMap((file) => checkFile(file)),
  broken: {
    "a module of the core": [
      fileFromText("src/devices/a/b.ts", `import { pteAt } from "../../mmu/radix-table.ts";`),
    ],
    "a type of the core": [
      fileFromText("src/devices/a/b.ts", `import type { Mm } from "../../mm/mm-struct.ts";`),
    ],
    "a re-export": [fileFromText("src/devices/b.ts", `export * from "../space/handle.ts";`)],
    "an import that waits": [
      fileFromText("src/devices/b.ts", `await import("../host/spawn-worker.ts");`),
    ],
    "the whole entry, which stands above": [
      fileFromText("src/devices/b.ts", `import { FaultRing } from "../driver.ts";`),
    ],
    "the package by its name": [
      fileFromText("src/devices/b.ts", `import { Mutex } from "hmm-ts/driver";`),
    ],
  },
  sound: {
    "the interface": [
      fileFromText("src/devices/a/b.ts", `import { Mutex } from "../../driver-interface.ts";`),
    ],
    "another device's parts": [
      fileFromText("src/devices/a/b.ts", `import { x } from "../service/x.ts";`),
    ],
    elsewhere: [fileFromText("src/checker/a.ts", `import { x } from "../mm/x.ts";`)],
  },
};
