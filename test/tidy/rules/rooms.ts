/**
 * @module The checker's folders, its rooms, stand in an order. Each is made of what stands below
 * it, types included: what a part must know of its whole is an interface in the part's own room.
 */

import { importsOf, workerEntriesOf } from "../imports.ts";
import { fileFromText, type ProjectFile } from "../project-file.ts";
import type { Finding, Rule } from "../rule.ts";

const CHECKER = "src/checker/";

/**
 * Bottom to top, as docs/ARCHITECTURE.md draws them. The files are the front doors, and there are
 * no others.
 */
const rooms: readonly string[] = [
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
  "telling",
  "pieces",
  "rig",
  "index.ts",
];

function roomOf(path: string): number {
  return rooms.indexOf(path.slice(CHECKER.length).split("/", 1)[0] ?? "");
}

function checkFile(file: ProjectFile): Finding[] {
  const from = roomOf(file.path);
  if (from === -1) {
    return [
      {
        path: file.path,
        line: 1,
        message: `stands in no room of the checker; they are ${rooms.join(" < ")}`,
      },
    ];
  }
  const targets = importsOf(file).map(({ path, line }) => ({ path, line }));
  targets.push(...workerEntriesOf(file));
  const findings: Finding[] = [];
  for (const { path, line } of targets) {
    if (path === undefined || !path.startsWith(CHECKER) || roomOf(path) <= from) continue;
    const message = `imports ${path}, whose room stands above (${rooms.join(" < ")}); turn the dependency round`;
    findings.push({ path: file.path, line, message });
  }
  return findings;
}

export const checkerRooms: Rule = {
  name: "each room of the checker imports only itself and those below it",
  check: (files) =>
    files.filter(({ path }) => path.startsWith(CHECKER) && path.endsWith(".ts")).flatMap(checkFile),
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
  },
  sound: {
    "downward import": [
      fileFromText("src/checker/replay/a.ts", `import { explore } from "../explore.ts";`),
    ],
    "the same room": [fileFromText("src/checker/steps/a.ts", `import { b } from "./b.ts";`)],
    "another layer": [
      fileFromText("src/checker/steps/a.ts", `import { b } from "../../sync/b.ts";`),
    ],
    "another folder": [fileFromText("src/mm/a.ts", `import { b } from "./b.ts";`)],
  },
};
