/**
 * @module No function and no class is exported for nobody. Constants are left out: a table of flags
 * or error numbers is exported whole, used or not.
 */

import {
  fileFromText,
  isScript,
  isSource,
  lineOf,
  parseFile,
  type ProjectFile,
} from "../project-file.ts";
import { entryPaths, publicNames } from "../public-names.ts";
import type { Finding, Rule } from "../rule.ts";

interface Exported {
  readonly name: string;
  readonly line: number;
}

function exportedFunctionsOf(file: ProjectFile): Exported[] {
  const exported: Exported[] = [];
  for (const statement of parseFile(file).program.body) {
    if (statement.type !== "ExportNamedDeclaration") continue;
    const { declaration } = statement;
    if (declaration?.type !== "FunctionDeclaration" && declaration?.type !== "ClassDeclaration")
      continue;
    if (declaration.id !== null)
      exported.push({ name: declaration.id.name, line: lineOf(file, statement.start) });
  }
  return exported;
}

/**
 * Every word of a script, names in comments included: a rule that asks for less would accuse the
 * innocent.
 */
function wordsOf(file: ProjectFile): ReadonlySet<string> {
  return new Set(file.text.match(/[A-Za-z_$][\w$]*/g));
}

function check(files: readonly ProjectFile[]): Finding[] {
  const users = files.filter(isScript).map((file) => ({ path: file.path, words: wordsOf(file) }));
  const isPublic = new Set(
    entryPaths(files).flatMap((entry) => publicNames(files, entry).map(({ name }) => name)),
  );
  const findings: Finding[] = [];
  for (const file of files.filter(isSource)) {
    for (const { name, line } of exportedFunctionsOf(file)) {
      if (isPublic.has(name)) continue;
      if (users.some(({ path, words }) => path !== file.path && words.has(name))) continue;
      findings.push({
        path: file.path,
        line,
        message: `exports ${name}, which no other file uses; keep it to the file, or take it out`,
      });
    }
  }
  return findings;
}

const dead: ProjectFile = fileFromText("src/mm/a.ts", `export function mmgrab(): void {}`);

export const deadExports: Rule = {
  name: "no function or class is exported for nobody",
  check,
  broken: {
    "a function": [dead],
    "a generator": [fileFromText("src/mm/a.ts", `export function* mmap(): Task<void> {}`)],
    "a class that only its own file names": [
      fileFromText("src/mm/a.ts", `export class Mm {}\nnew Mm();`),
    ],
  },
  sound: {
    "used by another file": [dead, fileFromText("src/mm/b.ts", `import { mmgrab } from "./a.ts";`)],
    "used by a test": [
      dead,
      fileFromText("test/mm/b.test.ts", `import { mmgrab } from "../../src/mm/a.ts";`),
    ],
    "exported by the package": [
      dead,
      fileFromText("src/index.ts", `export * from "./mm/a.ts";`),
      fileFromText("package.json", `"./dist/src/index.js"`),
    ],
    "a constant": [fileFromText("src/mm/a.ts", `export const VM_READ = 1;`)],
  },
};
