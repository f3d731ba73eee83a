/**
 * @module A folder of src/ imports only itself and what stands below it. Above all of it stands
 * command/: its scenarios, then its own files.
 */

import { importsOf, workerEntriesOf } from "../imports.ts";
import { fileFromText, isPackaged, type ProjectFile } from "../project-file.ts";
import type { Finding, Rule } from "../rule.ts";

/**
 * Bottom to top. src/driver-interface.ts stands below the devices, which are made of it alone
 * (drivers-only.ts); src/driver.ts, above them, adds the parts of their service for drivers that
 * are not ours. Only the command knows the scenarios.
 */
export const layers: readonly string[] = [
  "sync",
  "memory",
  "mmu",
  "notifier",
  "mm",
  "hmm",
  "host",
  "space",
  "driver-interface.ts",
  "devices",
  "driver.ts",
  "checker",
  "conformance",
  "worker.ts",
  "webgpu.ts",
  "index.ts",
  "command/scenarios",
  "command/src",
];

function layerOf(path: string): number {
  const [top = "", folder = ""] = path.split("/");
  return layers.indexOf(top === "command" ? `${top}/${folder}` : folder);
}

function checkFile(file: ProjectFile): Finding[] {
  const findings: Finding[] = [];
  const from = layerOf(file.path);
  if (from === -1) {
    findings.push({
      path: file.path,
      line: 1,
      message: `stands in no layer; the layers are ${layers.join(" < ")}`,
    });
  }
  const targets = importsOf(file).map(({ path, line }) => ({ path, line }));
  targets.push(...workerEntriesOf(file));
  for (const { path, line } of targets) {
    if (path === undefined) continue;
    if (!/^(src|command)\//.test(path)) {
      const message = `imports ${path}; what ships stands in src/ and command/`;
      findings.push({ path: file.path, line, message });
    } else if (layerOf(path) > from) {
      const message = `imports ${path}, which stands above it (${layers.join(" < ")}); turn the dependency round`;
      findings.push({ path: file.path, line, message });
    }
  }
  return findings;
}

export const layering: Rule = {
  name: "each layer imports only itself and those below it",
  check: (files) => files.filter(isPackaged).flatMap(checkFile),
  broken: {
    "upward import": [
      fileFromText("src/mm/fault.ts", `import { hmmFault } from "../hmm/fault.ts";`),
    ],
    "upward type import": [
      fileFromText("src/sync/wait.ts", `import type { Mm } from "../mm/mm.ts";`),
    ],
    "upward re-export": [fileFromText("src/memory/ram.ts", `export * from "../space/space.ts";`)],
    "upward dynamic import": [
      fileFromText("src/hmm/hmm.ts", `await import("../devices/device.ts");`),
    ],
    "upward worker entry": [
      fileFromText(
        "src/host/node.ts",
        `start(new URL("../devices/software/agent.js", import.meta.url));`,
      ),
    ],
    "import from the tests": [
      fileFromText("src/mm/mm.ts", `import { x } from "../../test/mm/x.ts";`),
    ],
    "unknown layer": [fileFromText("src/stuff/a.ts", `export const a: number = 1;`)],
    "the checker imports a scenario": [
      fileFromText("src/checker/a.ts", `import { all } from "../../command/scenarios/all.ts";`),
    ],
    "a scenario imports the command": [
      fileFromText("command/scenarios/a/b.ts", `import { run } from "../../src/run.ts";`),
    ],
    "a scenario imports a test": [
      fileFromText("command/scenarios/a/b.ts", `import { x } from "../../../test/mm/x.ts";`),
    ],
    "index imports the command": [
      fileFromText("src/index.ts", `export { main } from "../command/src/main.ts";`),
    ],
  },
  sound: {
    "downward import": [
      fileFromText("src/hmm/fault.ts", `import { fault } from "../mm/fault.ts";`),
    ],
    "same layer": [
      fileFromText("src/mm/fault.ts", `import { a } from "./vma.ts"; import fs from "node:fs";`),
    ],
    "the command imports the scenarios": [
      fileFromText("command/src/check.ts", `import { all } from "../scenarios/all.ts";`),
    ],
    "a scenario imports what it explores": [
      fileFromText(
        "command/scenarios/a/b.ts",
        `import { x } from "../x.ts"; import "../../../src/mm/y.ts";`,
      ),
    ],
    "the command imports the index": [
      fileFromText("command/src/main.ts", `import { AddressSpace } from "../../src/index.ts";`),
    ],
  },
};
