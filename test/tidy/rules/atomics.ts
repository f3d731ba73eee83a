/**
 * @module Nothing but src/sync touches Atomics, so that a scheduler which owns every
 * synchronisation step can take its place there and miss none.
 */

import { Visitor } from "oxc-parser";
import { fileFromText, isSource, lineOf, parseFile, type ProjectFile } from "../project-file.ts";
import type { Finding, Rule } from "../rule.ts";

function checkFile(file: ProjectFile): Finding[] {
  const findings: Finding[] = [];
  const message = "touches Atomics; use the primitives of src/sync";
  new Visitor({
    Identifier(node) {
      if (node.name === "Atomics")
        findings.push({ path: file.path, line: lineOf(file, node.start), message });
    },
  }).visit(parseFile(file).program);
  return findings;
}

export const atomics: Rule = {
  name: "only src/sync touches Atomics",
  check: (files) =>
    files.filter((file) => isSource(file) && !file.path.startsWith("src/sync/")).flatMap(checkFile),
  broken: {
    "a load": [fileFromText("src/mm/pte.ts", `export const x = Atomics.load(words, 0);`)],
    "an alias": [fileFromText("src/devices/a.ts", `const { load } = Atomics;`)],
    "over globalThis": [fileFromText("src/hmm/a.ts", `globalThis.Atomics.load(words, 0);`)],
  },
  sound: {
    "in sync": [fileFromText("src/sync/primitives/mutex.ts", `Atomics.load(words, 0);`)],
    "in a comment or a string": [
      fileFromText("src/mm/a.ts", `/* Atomics.load */ const s = "Atomics";`),
    ],
  },
};
