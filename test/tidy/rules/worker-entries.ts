/**
 * @module The file that a `new URL("./x.js", import.meta.url)` names is there: no compiler looks
 * inside that string.
 */

import { workerEntriesOf } from "../imports.ts";
import { fileFromText, type ProjectFile } from "../project-file.ts";
import type { Finding, Rule } from "../rule.ts";

const compiledFolders = /^(src|test|bench|examples|scenarios)\/.*\.ts$/;

function check(files: readonly ProjectFile[]): Finding[] {
  const paths = new Set(files.map((file) => file.path));
  return files
    .filter((file) => compiledFolders.test(file.path) && !file.path.endsWith(".d.ts"))
    .flatMap((file) =>
      workerEntriesOf(file)
        .filter(({ path }) => !paths.has(path.replace(/\.js$/, ".ts")))
        .map(({ path, line }) => ({
          path: file.path,
          line,
          message: `starts ${path}, which no source file compiles to`,
        })),
    );
}

const starter: ProjectFile = fileFromText(
  "src/host/a.ts",
  `new Worker(new URL("./agent.js", import.meta.url));`,
);

export const workerEntries: Rule = {
  name: "the worker entries named in strings are there",
  check,
  broken: {
    "no such file": [starter],
    "the wrong folder": [starter, fileFromText("src/agent.ts", "")],
  },
  sound: {
    "the source of the built file": [starter, fileFromText("src/host/agent.ts", "")],
    "another kind of file": [
      fileFromText("src/host/a.ts", `new URL("./page.html", import.meta.url);`),
    ],
  },
};
