/**
 * @module Words that may not stand in the project, each with what to do instead. This file alone
 * may name them.
 */

import { fileFromText, isScript, lineOf, type ProjectFile } from "../project-file.ts";
import type { Finding, Rule } from "../rule.ts";

interface Ban {
  readonly pattern: RegExp;
  readonly instead: string;
  /** Scripts only, or every text? */
  readonly everywhere?: true;
}

const bans: readonly Ban[] = [
  { pattern: /\bTODO\b/, instead: "do it, or write it down in docs/LIMITS.md", everywhere: true },
  { pattern: /\bFIXME\b/, instead: "fix it, or write it down in docs/LIMITS.md", everywhere: true },
  { pattern: /\bXXX\b/, instead: "say what is wrong", everywhere: true },
  { pattern: /\bHACK\b/, instead: "say why the simpler way is wrong", everywhere: true },
  { pattern: /\bnot (yet )?implemented\b/i, instead: "implement it, or leave it out" },
  { pattern: /\bas any\b/, instead: "say which type it is" },
  {
    pattern: /\bas unknown as\b/,
    instead: "check the value, or give it a type that says what it is",
  },
  { pattern: /@ts-(ignore|nocheck|expect-error)\b/, instead: "make the types right" },
  {
    pattern: /\b(Async)?DisposableStack\b/,
    instead: "write the dispose method out: Node 20 has no stack",
  },
  {
    pattern: /\bSuppressedError\b/,
    instead: "throw the first error: Node 20 does not know this one",
  },
  { pattern: /\bPromise\.withResolvers\b/, instead: "use new Promise: Node 20 does not know this" },
  { pattern: /\bArray\.fromAsync\b/, instead: "loop with for await: Node 20 does not know this" },
  { pattern: /\b(Object|Map)\.groupBy\b/, instead: "loop: Node 20 does not know this" },
  { pattern: /\bAtomics\.pause\b/, instead: "leave it out: Node 20 does not know this" },
  { pattern: /\bFloat16Array\b/, instead: "leave it out: Node 20 does not know this" },
  {
    pattern: /\bimport\.meta\.(dirname|filename)\b/,
    instead: "use fileURLToPath: browsers do not know this",
  },
  { pattern: /\b(test|it|describe|suite)\.only\b/, instead: "run them all" },
  { pattern: /\b(test|it|describe|suite)\.todo\b/, instead: "write the test, or leave it out" },
  { pattern: /\bonly: true\b/, instead: "run them all" },
  { pattern: /\bskip: true\b/, instead: "say why it is skipped: skip takes a reason" },
  { pattern: /\bdebugger\b/, instead: "take it out" },
  {
    pattern: /["'`](\/home\/|\/root\/|\/Users\/)/,
    instead: "build paths from import.meta.url or the temporary folder",
  },
];

const exempt: ReadonlySet<string> = new Set([
  "test/tidy/rules/banned-words.ts",
  "package-lock.json",
  "LICENSE",
]);

function checkFile(file: ProjectFile): Finding[] {
  const findings: Finding[] = [];
  for (const { pattern, instead, everywhere } of bans) {
    if (everywhere !== true && !isScript(file)) continue;
    for (const match of file.text.matchAll(new RegExp(pattern, `${pattern.flags}g`))) {
      findings.push({
        path: file.path,
        line: lineOf(file, match.index),
        message: `says "${match[0]}": ${instead}`,
      });
    }
  }
  return findings;
}

export const bannedWords: Rule = {
  name: "no banned words",
  check: (files) => files.filter((file) => !exempt.has(file.path)).flatMap(checkFile),
  broken: {
    "a note to self": [fileFromText("src/mm/a.ts", `// TODO: later`)],
    "a note to self in the docs": [fileFromText("docs/TOUR.md", `FIXME`)],
    "an escape from the types": [fileFromText("src/mm/a.ts", `const x = y as any;`)],
    "a double assertion": [fileFromText("src/mm/a.ts", `const x = y as unknown as Mm;`)],
    "a silenced error": [fileFromText("test/mm/a.test.ts", `// @ts-ignore`)],
    "a class that Node 20 lacks": [
      fileFromText("src/space/a.ts", `using s = new DisposableStack();`),
    ],
    "a focused test": [fileFromText("test/mm/a.test.ts", `test.only("x", f);`)],
    "a test skipped for no reason": [
      fileFromText("test/mm/a.test.ts", `test("x", { skip: true }, f);`),
    ],
    "somebody's home": [fileFromText("test/mm/a.test.ts", `read("/home/ann/x");`)],
  },
  sound: {
    "inside a longer word": [
      fileFromText("src/mm/a.ts", `const mastodon = TODOS; // as anyone can see`),
    ],
    "code words in prose": [fileFromText("docs/STYLE.md", `Write no "as any".`)],
    "a skip with its reason": [
      fileFromText("test/mm/a.test.ts", `test("x", { skip: "no GPU here" }, f);`),
    ],
  },
};
