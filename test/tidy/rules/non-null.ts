/**
 * @module `words[i]!` is how a typed array is read under noUncheckedIndexedAccess: the index was
 * checked, or the array's length is a power of two that masks it. Every other `!` claims something,
 * so a comment beside it says why it is true.
 */

import { Visitor } from "oxc-parser";
import { fileFromText, isSource, lineOf, parseFile, type ProjectFile } from "../project-file.ts";
import type { Finding, Rule } from "../rule.ts";

function checkFile(file: ProjectFile): Finding[] {
  const findings: Finding[] = [];
  const { program, comments } = parseFile(file);
  const commentLines = new Set(comments.map((comment) => lineOf(file, comment.end)));
  const message =
    "claims with ! that something is there; say why in a comment beside it, or test it";
  new Visitor({
    TSNonNullExpression(node) {
      if (node.expression.type === "MemberExpression" && node.expression.computed) return;
      const line = lineOf(file, node.end - 1);
      if (commentLines.has(line) || commentLines.has(line - 1)) return;
      findings.push({ path: file.path, line, message });
    },
  }).visit(program);
  return findings;
}

export const nonNull: Rule = {
  name: "every ! but that of an indexed read has its reason beside it",
  check: (files) => files.filter(isSource).flatMap(checkFile),
  broken: {
    "a property": [fileFromText("src/mm/a.ts", `f(x.y!);`)],
    "a call": [fileFromText("src/mm/a.ts", `f(map.get(1)!);`)],
  },
  sound: {
    "an indexed read": [fileFromText("src/mm/a.ts", `f(words[i + 1]!);`)],
    "a reason on the same line": [fileFromText("src/mm/a.ts", `f(x.y!); // set by init`)],
    "a reason on the line before": [fileFromText("src/mm/a.ts", `// init has set it\nf(x.y!);`)],
    "a plain not": [fileFromText("src/mm/a.ts", `f(!x.y, x !== y);`)],
  },
};
