/**
 * @module No file imports itself over others: what is initialised first must never depend on who was imported first.
 * Imports of types alone are gone when the code runs, so they close no cycle: a part may know the type of its whole.
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
    for (const { path, line, isTypeOnly } of importsOf(file)) {
      if (path !== undefined && !isTypeOnly) edges.push({ to: path, line });
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
        const message = `closes a cycle: ${[...trail.slice(start), to].join(" -> ")}; move what both need into a third file`;
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
  name: "no import cycles",
  check: (files) => findCycles(importGraph(files)),
  broken: {
    "two files": [
      fileFromText("src/mm/a.ts", `import { b } from "./b.ts";`),
      fileFromText("src/mm/b.ts", `import { a } from "./a.ts";`),
    ],
    "three files, one of which mixes values and types": [
      fileFromText("src/mm/a.ts", `import { b } from "./b.ts";`),
      fileFromText("src/mm/b.ts", `import { c, type C } from "./c.ts";`),
      fileFromText("src/mm/c.ts", `export * from "./a.ts";`),
    ],
    "a file that imports itself": [fileFromText("src/mm/a.ts", `import { b } from "./a.ts";`)],
  },
  sound: {
    "a part that knows the type of its whole": [
      fileFromText("src/mm/a.ts", `import { b } from "./b.ts";`),
      fileFromText("src/mm/b.ts", `import type { A } from "./a.ts"; import { type C } from "./a.ts";`),
    ],
    "a diamond": [
      fileFromText("src/mm/a.ts", `import "./b.ts"; import "./c.ts";`),
      fileFromText("src/mm/b.ts", `import "./d.ts";`),
      fileFromText("src/mm/c.ts", `import "./d.ts";`),
      fileFromText("src/mm/d.ts", `export const d: number = 1;`),
    ],
  },
};
