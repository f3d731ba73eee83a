/**
 * @module An access that another thread may race with is named, for an explorer, where it is made:
 * in a function marked `@stepped`, by `readWord` and its like (src/sync/primitives/word-steps.ts),
 * or by an operation of a primitive. A bare announcement, `access(memory, "read", ...)` before an
 * access that something else makes, can name one word and touch another, and hides what comes in
 * between: a page table was once freed under a walk for that.
 *
 * The list below is what is left. It may only become shorter: a number that is too high is a
 * finding as well.
 */

import { Visitor } from "oxc-parser";
import { fileFromText, isSource, lineOf, parseFile, type ProjectFile } from "../project-file.ts";
import type { Finding, Rule } from "../rule.ts";

/** How often each file may still announce. */
const left: ReadonlyMap<string, number> = new Map([
  // Words outside the heap, and whole pages: each is followed by the function that all modes run.
  ["src/memory/frames/page-data.ts", 1],
  // Several words at a time.
  ["src/mm/view/view-watch.ts", 1],
  ["src/devices/service/block-service.ts", 2],
  ["src/devices/service/service-owner.ts", 1],
]);

const announcing: ReadonlySet<string> = new Set(["access", "step", "describe"]);
/** That memory is given out or back is said of an object; no word is accessed. */
const lives: ReadonlySet<string> = new Set(["alloc", "free"]);

function isJudged(file: ProjectFile): boolean {
  return (
    isSource(file) && !file.path.startsWith("src/sync/") && !file.path.startsWith("src/checker/")
  );
}

/** The announcing functions that the file imports, by the names that it gives them. */
function importedIn(file: ProjectFile): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  for (const { moduleRequest, entries } of parseFile(file).module.staticImports) {
    if (!/\/(?:sync\/tasks\/task|driver-interface)\.ts$/.test(moduleRequest.value)) continue;
    for (const { importName, localName } of entries) {
      const { name } = importName;
      if (typeof name === "string" && announcing.has(name)) names.set(localName.value, name);
    }
  }
  return names;
}

function announcementsIn(file: ProjectFile): number[] {
  const imported = importedIn(file);
  const lines: number[] = [];
  if (imported.size === 0) return lines;
  new Visitor({
    CallExpression({ callee, arguments: given, start }) {
      const called = callee.type === "Identifier" ? imported.get(callee.name) : undefined;
      if (called === undefined) return;
      const kind = given[called === "describe" ? 0 : 1];
      if (kind?.type === "Literal" && typeof kind.value === "string" && lives.has(kind.value))
        return;
      lines.push(lineOf(file, start));
    },
  }).visit(parseFile(file).program);
  return lines;
}

function checkFile(file: ProjectFile): Finding[] {
  const { path } = file;
  const allowed = left.get(path) ?? 0;
  const lines = announcementsIn(file);
  const tooMany = lines.slice(allowed).map((line) => ({
    path,
    line,
    message:
      "announces an access that is made elsewhere; mark the function @stepped, or use readWord and its like (src/sync/primitives/word-steps.ts)",
  }));
  if (lines.length >= allowed) return tooMany;
  const message = `announces ${lines.length} accesses, and test/tidy/rules/bare-announcements.ts allows ${allowed}: lower the number`;
  return [{ path, line: 1, message }];
}

const imports = `import { access, describe as told } from "../sync/tasks/task.ts";\n`;
const one = `yield* access(memory, "read", at, 1, "pte");`;

function fileOf(path: string, times: number): ProjectFile {
  return fileFromText(path, `${imports}function* f() { ${one.repeat(times)} }`);
}

export const bareAnnouncements: Rule = {
  name: "an access is named where it is made",
  check: (files) => files.filter(isJudged).flatMap(checkFile),
  broken: {
    "a new file that announces": [fileOf("src/mm/new.ts", 1)],
    "one more where some are left": [fileOf("src/devices/service/service-owner.ts", 2)],
    "a list that is longer than what is left": [fileOf("src/devices/service/service-owner.ts", 0)],
    "another function": [
      fileFromText(
        "src/hmm/a.ts",
        `${imports}function* f() { yield told("write", memory, at, 1, "x"); }`,
      ),
    ],
  },
  sound: {
    "as many as are left": [fileOf("src/devices/service/service-owner.ts", 1)],
    "the life of an object": [
      fileFromText(
        "src/mm/a.ts",
        `${imports}function* f() { yield* access(memory, "alloc", at, 4, "x"); }`,
      ),
    ],
    "another one's method": [
      fileFromText("src/mm/a.ts", `${imports}rights.access(memory, "read", at, 1, "x");`),
    ],
    "a function of the same name": [
      fileFromText("src/mm/a.ts", `const step = f; step(memory, "read", at, 1, "x");`),
    ],
    "the primitives": [fileOf("src/sync/new.ts", 1)],
    "the checker's own words": [fileOf("src/checker/pieces/new.ts", 1)],
  },
};
