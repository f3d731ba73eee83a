/**
 * @module The folders of a layer, its rooms, stand in an order. Each is made of what stands below
 * it, types included: what a part must know of its whole is an interface in the part's own room.
 */

import { importsOf, workerEntriesOf } from "../imports.ts";
import { fileFromText, type ProjectFile } from "../project-file.ts";
import type { Finding, Rule } from "../rule.ts";

/** In an order: the files that lie beside the rooms, but for those that are named. */
const FILES = "*.ts";

/** Of each layer that has rooms: bottom to top, as docs/ARCHITECTURE.md draws them. */
const orders: ReadonlyMap<string, readonly string[]> = new Map([
  ["src/sync/", [FILES, "words", "tasks", "lockdep", "primitives", "death", "runners"]],
  ["src/memory/", ["layout", "heap", "frames", FILES]],
  ["src/mm/", [FILES, "entries", "vma", "lifetime", "source", "fault", "migrate", "view", "calls"]],
  ["src/hmm/", [FILES, "mirror", "range", "walk"]],
  ["src/devices/", [FILES, "policy", "service", "webgpu-record", "software", "webgpu"]],
  [
    "src/checker/",
    [
      "steps",
      "scenario.ts",
      "watch",
      "execution",
      "findings",
      "engines",
      "session",
      "explore.ts",
      "parallel",
      "replay",
      "report",
      "primitives",
      "harness",
      "index.ts",
    ],
  ],
]);

interface Layer {
  readonly folder: string;
  readonly order: readonly string[];
}

function layerOf(path: string): Layer | undefined {
  for (const [folder, order] of orders) if (path.startsWith(folder)) return { folder, order };
  return undefined;
}

/** The place of a file's room in the order, -1 if it is in none. */
function roomOf({ folder, order }: Layer, path: string): number {
  const rest = path.slice(folder.length);
  const named = order.indexOf(rest.split("/", 1)[0] ?? "");
  return named === -1 && !rest.includes("/") ? order.indexOf(FILES) : named;
}

function checkFile(file: ProjectFile): Finding[] {
  const layer = layerOf(file.path);
  if (layer === undefined) return [];
  const { folder, order } = layer;
  const from = roomOf(layer, file.path);
  if (from === -1) {
    const message = `stands in no room of ${folder}; they are ${order.join(" < ")}`;
    return [{ path: file.path, line: 1, message }];
  }
  const targets = importsOf(file).map(({ path, line }) => ({ path, line }));
  targets.push(...workerEntriesOf(file));
  const findings: Finding[] = [];
  for (const { path, line } of targets) {
    if (path === undefined || !path.startsWith(folder) || roomOf(layer, path) <= from) continue;
    const message = `imports ${path}, whose room stands above (${order.join(" < ")}); turn the dependency round`;
    findings.push({ path: file.path, line, message });
  }
  return findings;
}

export const rooms: Rule = {
  name: "each room of a layer imports only itself and those below it",
  check: (files) => files.filter(({ path }) => path.endsWith(".ts")).flatMap(checkFile),
  broken: {
    "upward import": [
      fileFromText("src/checker/steps/a.ts", `import { b } from "../engines/b.ts";`),
    ],
    "upward import of a type": [
      fileFromText(
        "src/checker/watch/a.ts",
        `import type { Execution } from "../execution/execution.ts";`,
      ),
    ],
    "a front door above": [
      fileFromText("src/checker/session/a.ts", `import { explore } from "../explore.ts";`),
    ],
    "upward worker entry": [
      fileFromText(
        "src/checker/session/a.ts",
        `start(new URL("../parallel/b-worker.js", import.meta.url));`,
      ),
    ],
    "a file beside the front doors": [
      fileFromText("src/checker/a.ts", `export const a: number = 1;`),
    ],
    "an unknown room": [fileFromText("src/checker/attic/a.ts", `export const a: number = 1;`)],
    "from a layer's own files into a room above": [
      fileFromText("src/mm/mm-struct.ts", `import { b } from "./vma/b.ts";`),
    ],
  },
  sound: {
    "downward import": [
      fileFromText("src/checker/replay/a.ts", `import { explore } from "../explore.ts";`),
    ],
    "the same room": [fileFromText("src/checker/steps/a.ts", `import { b } from "./b.ts";`)],
    "another layer": [
      fileFromText("src/checker/steps/a.ts", `import { b } from "../../sync/b.ts";`),
    ],
    "a layer without rooms": [fileFromText("src/notifier/a.ts", `import { b } from "./b.ts";`)],
    "a layer's own files below its rooms": [
      fileFromText("src/mm/fault/a.ts", `import { b } from "../b.ts";`),
    ],
    "a layer's own files above its rooms": [
      fileFromText("src/memory/ram.ts", `import { b } from "./frames/b.ts";`),
    ],
  },
};
