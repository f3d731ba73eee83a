/**
 * @module No file imports itself over others. So what is initialised first never depends on who was
 * imported first, and each file can be read and understood with those below it alone. Imports of
 * types count: a part that must know its whole names an interface of what it needs, in a file
 * below.
 */

import { importsOf } from "../imports.ts";
import { fileFromText, isPackaged, type ProjectFile } from "../project-file.ts";
import type { Finding, Rule } from "../rule.ts";

interface Edge {
  readonly to: string;
  readonly line: number;
}

type Graph = ReadonlyMap<string, readonly Edge[]>;

function importGraph(files: readonly ProjectFile[]): Graph {
  const graph = new Map<string, Edge[]>();
  for (const file of files.filter(isPackaged)) {
    const edges: Edge[] = [];
    for (const { path, line } of importsOf(file)) {
      if (path !== undefined) edges.push({ to: path, line });
    }
    graph.set(file.path, edges);
  }
  return graph;
}

/** Depth-first search; an edge to a file on the current trail closes a cycle. */
function findCycles(graph: Graph): Finding[] {
  const findings: Finding[] = [];
  const done = new Set<string>();
  const trail: string[] = [];
  const visit = (path: string): void => {
    trail.push(path);
    for (const { to, line } of graph.get(path) ?? []) {
      const start = trail.indexOf(to);
      if (start !== -1) {
        const circle = [...trail.slice(start), to].join(" -> ");
        const message = `closes a circle: ${circle}; move what both need into a third file`;
        findings.push({ path, line, message });
      } else if (!done.has(to)) {
        visit(to);
      }
    }
    trail.pop();
    done.add(path);
  };
  for (const path of graph.keys()) if (!done.has(path)) visit(path);
  return findings;
}

export const cycles: Rule = {
  name: "no circles of files, types included",
  check: (files) => findCycles(importGraph(files)),
  broken: {
    "two files": [
      fileFromText("src/mm/a.ts", `import { b } from "./b.ts";`),
      fileFromText("src/mm/b.ts", `import { a } from "./a.ts";`),
    ],
    "three files": [
      fileFromText("src/mm/a.ts", `import { b } from "./b.ts";`),
      fileFromText("src/mm/b.ts", `import { c, type C } from "./c.ts";`),
      fileFromText("src/mm/c.ts", `export * from "./a.ts";`),
    ],
    "a part that knows the type of its whole": [
      fileFromText("src/mm/a.ts", `import { b } from "./b.ts";`),
      fileFromText("src/mm/b.ts", `import type { A } from "./a.ts";`),
    ],
    "two types": [
      fileFromText("src/mm/a.ts", `import type { B } from "./b.ts";`),
      fileFromText("src/mm/b.ts", `export type { A } from "./a.ts";`),
    ],
    "a type named in place": [
      fileFromText("src/mm/a.ts", `import { b } from "./b.ts";`),
      fileFromText("src/mm/b.ts", `export let a: import("./a.ts").A | undefined;`),
    ],
    "files of the command": [
      fileFromText("command/src/a.ts", `import { b } from "./b.ts";`),
      fileFromText("command/src/b.ts", `import { a } from "./a.ts";`),
    ],
    scenarios: [
      fileFromText("command/scenarios/mm/a.ts", `import { b } from "./b.ts";`),
      fileFromText("command/scenarios/mm/b.ts", `import { a } from "./a.ts";`),
    ],
    "a file that imports itself": [fileFromText("src/mm/a.ts", `import { b } from "./a.ts";`)],
  },
  sound: {
    "a part that knows an interface of its whole": [
      fileFromText(
        "src/mm/a.ts",
        `import { b } from "./b.ts"; import type { View } from "./view.ts";`,
      ),
      fileFromText("src/mm/b.ts", `import type { View } from "./view.ts";`),
      fileFromText("src/mm/view.ts", `export interface View {}`),
    ],
    "a diamond": [
      fileFromText("src/mm/a.ts", `import "./b.ts"; import "./c.ts";`),
      fileFromText("src/mm/b.ts", `import "./d.ts";`),
      fileFromText("src/mm/c.ts", `import "./d.ts";`),
      fileFromText("src/mm/d.ts", `export const d: number = 1;`),
    ],
  },
};
