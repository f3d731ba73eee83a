/** @module Every name that the package exports says what it is, where it is declared. */

import { fileFromText, type ProjectFile } from "../project-file.ts";
import { entryPaths, publicNames } from "../public-names.ts";
import type { Finding, Rule } from "../rule.ts";

const docstringLettersMin = 20;

function checkEntry(files: readonly ProjectFile[], entryPath: string): Finding[] {
  const names = publicNames(files, entryPath);
  if (names.length === 0) {
    return [
      {
        path: entryPath,
        line: 1,
        message: "is an entry of the package, but exports nothing or is not there",
      },
    ];
  }
  const findings: Finding[] = [];
  const documented = new Set<string>();
  for (const { name, docstring } of names) {
    // An interface and a constant may share one name, and then one docstring serves both.
    if ((docstring ?? "").replace(/[^\p{L}]/gu, "").length >= docstringLettersMin)
      documented.add(name);
  }
  for (const { name, path, line, isFound } of names) {
    if (!isFound)
      findings.push({ path, line, message: `re-exports ${name}, which is nowhere declared` });
    else if (!documented.has(name))
      findings.push({ path, line, message: `exports ${name} without a docstring` });
  }
  return findings;
}

const packageFile: ProjectFile = fileFromText(
  "package.json",
  `{ "exports": { ".": "./dist/src/index.js" } }`,
);
const index = (text: string): ProjectFile => fileFromText("src/index.ts", text);

export const publicDocs: Rule = {
  name: "every exported name of the package has a docstring",
  check: (files) => entryPaths(files).flatMap((entryPath) => checkEntry(files, entryPath)),
  broken: {
    "a bare constant": [packageFile, index(`export const pageBytes: number = 4096;`)],
    "a bare re-export": [
      packageFile,
      index(`export { a } from "./a.ts";`),
      fileFromText("src/a.ts", `export class a {}`),
    ],
    "a star over a bare interface": [
      packageFile,
      index(`export * from "./a.ts";`),
      fileFromText("src/a.ts", `export interface A {}`),
    ],
    "a docstring of one word": [
      packageFile,
      index(`/** Bytes. */\nexport const pageBytes: number = 4096;`),
    ],
    "the module's head is no docstring": [
      packageFile,
      index(`/** @module The public face of the whole package. */\nexport const a: number = 1;`),
    ],
    "a name that is not there": [
      packageFile,
      index(`export { b } from "./a.ts";`),
      fileFromText("src/a.ts", ""),
    ],
    "a bare constant of the second face": [
      fileFromText(
        "package.json",
        `{ "exports": { ".": "./dist/src/index.js", "./b": "./dist/src/b/index.js" } }`,
      ),
      index(`/** What an address space is made of. */\nexport class A {}`),
      fileFromText("src/b/index.ts", `export const b: number = 1;`),
    ],
    "an entry that is not there": [packageFile],
  },
  sound: {
    "a docstring at the declaration": [
      packageFile,
      index(`export { a, type B } from "./a.ts";`),
      fileFromText(
        "src/a.ts",
        `export * from "./b.ts";\n/** What an address space is made of. */\nexport class a {}`,
      ),
      fileFromText(
        "src/b.ts",
        `/** How an address space is made, by option. */\nexport interface B {}`,
      ),
    ],
    "a docstring at the re-export": [
      packageFile,
      index(`/** What an address space is made of. */\nexport { a } from "./a.ts";`),
      fileFromText("src/a.ts", `export class a {}`),
    ],
    "declared and exported apart": [
      packageFile,
      index(`/** What an address space is made of. */\nclass A {}\nexport { A };`),
    ],
  },
};
