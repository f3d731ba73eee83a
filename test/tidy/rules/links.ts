/**
 * @module What the prose points at is there: relative links, and paths of this repository that it
 * names in backticks.
 */

import { posix } from "node:path";
import { fileFromText, lineOf, type ProjectFile } from "../project-file.ts";
import type { Finding, Rule } from "../rule.ts";

const link = /\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)\s]*)?\)/g;
/** Whole paths only: `src/mm/*.ts` and `src/<layer>/` speak of many files. */
const quotedPath = /`((?:src|command|test|docs|scripts|examples|bench|types)\/[\w./-]*\.\w+)`/g;

function checkFile(file: ProjectFile, exists: (path: string) => boolean): Finding[] {
  const findings: Finding[] = [];
  for (const match of file.text.matchAll(link)) {
    const path = posix.join(posix.dirname(file.path), match[1] ?? "").replace(/\/$/, "");
    if (exists(path)) continue;
    findings.push({
      path: file.path,
      line: lineOf(file, match.index),
      message: `links to ${path}, which is not there`,
    });
  }
  for (const match of file.text.matchAll(quotedPath)) {
    const path = match[1] ?? "";
    if (exists(path)) continue;
    findings.push({
      path: file.path,
      line: lineOf(file, match.index),
      message: `names ${path}, which is not there`,
    });
  }
  return findings;
}

function check(files: readonly ProjectFile[]): Finding[] {
  const paths = new Set<string>();
  for (const { path } of files) {
    for (let at = path; at !== "."; at = posix.dirname(at)) paths.add(at);
  }
  const prose = files.filter((file) => file.path.endsWith(".md"));
  return prose.flatMap((file) => checkFile(file, (path) => paths.has(path)));
}

const target: ProjectFile = fileFromText("src/mm/mm.ts", "");

export const links: Rule = {
  name: "what the prose points at is there",
  check,
  broken: {
    "a dead link": [target, fileFromText("README.md", `see [the tour](docs/TOUR.md)`)],
    "a dead link from a folder": [target, fileFromText("docs/A.md", `see [mm](src/mm/mm.ts)`)],
    "a path that was renamed": [target, fileFromText("docs/A.md", "see `src/mm/mmap.ts`")],
  },
  sound: {
    "live links": [
      target,
      fileFromText("docs/A.md", "[mm](../src/mm/mm.ts#L3) [folder](../src/mm/) `src/mm/mm.ts`"),
    ],
    "links away": [fileFromText("README.md", "[x](https://example.org/a) [here](#below)")],
    "a pattern": [fileFromText("README.md", "`src/mm/*.ts` and `test/<layer>/x.test.ts`")],
  },
};
