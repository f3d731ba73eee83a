/**
 * @module The changelog: newest version first, the package's own version on top, and four kinds of
 * entries.
 */

import { fileFromText, type ProjectFile } from "../project-file.ts";
import type { Finding, Rule } from "../rule.ts";

const kinds: ReadonlySet<string> = new Set(["Breaking", "Safety", "Features", "Internals"]);

function compareVersions(a: string, b: string): number {
  const left = a.split(".").map(Number);
  const right = b.split(".").map(Number);
  for (let i = 0; i < 3; i++) if (left[i] !== right[i]) return (left[i] ?? 0) - (right[i] ?? 0);
  return 0;
}

function checkFile(file: ProjectFile, version: string | undefined): Finding[] {
  const findings: Finding[] = [];
  let previous: string | undefined;
  for (const [index, text] of file.text.split("\n").entries()) {
    const blame = (message: string): void =>
      void findings.push({ path: file.path, line: index + 1, message });
    const kind = /^### (.*)$/.exec(text)?.[1];
    if (kind !== undefined && !kinds.has(kind))
      blame(`"${kind}" is none of ${[...kinds].join(", ")}`);
    const current = /^## (\d+\.\d+\.\d+)\b/.exec(text)?.[1];
    if (current === undefined) {
      if (text.startsWith("## ")) blame("is no version; write ## 1.2.3");
      continue;
    }
    if (previous === undefined && current !== version)
      blame(`tops with ${current}, but the package is ${version}`);
    if (previous !== undefined && compareVersions(current, previous) >= 0)
      blame("is not older than what stands above it");
    previous = current;
  }
  if (previous === undefined)
    findings.push({ path: file.path, line: 1, message: "lists no version" });
  return findings;
}

function check(files: readonly ProjectFile[]): Finding[] {
  const changelog = files.find((file) => file.path === "CHANGELOG.md");
  const packageFile = files.find((file) => file.path === "package.json");
  if (packageFile === undefined) return [];
  if (changelog === undefined) return [{ path: "CHANGELOG.md", line: 1, message: "is missing" }];
  return checkFile(changelog, /"version": "([^"]+)"/.exec(packageFile.text)?.[1]);
}

const packageFile: ProjectFile = fileFromText("package.json", `"version": "0.2.0"`);
const log = (text: string): ProjectFile[] => [packageFile, fileFromText("CHANGELOG.md", text)];

export const changelog: Rule = {
  name: "the changelog has the newest version first, in four kinds",
  check,
  broken: {
    "no changelog": [packageFile],
    "no version": log("# Changelog\n"),
    "another version on top": log("## 0.1.0\n"),
    "the oldest first": log("## 0.2.0\n## 0.3.0\n"),
    "a fifth kind": log("## 0.2.0\n### Misc\n"),
    "a heading that is no version": log("## Soon\n## 0.2.0\n"),
  },
  sound: {
    "two versions": log(
      "# Changelog\n\n## 0.2.0 (2026-02-01)\n\n### Safety\n\n### Features\n\n## 0.1.10\n\n### Internals\n",
    ),
  },
};
