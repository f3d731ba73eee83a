/** @module Whoever silences the linter or the formatter says why on the spot. */

import { fileFromText, isScript, lineOf, parseFile, type ProjectFile } from "../project-file.ts";
import type { Finding, Rule } from "../rule.ts";

function checkFile(file: ProjectFile): Finding[] {
  const findings: Finding[] = [];
  for (const { value, start } of parseFile(file).comments) {
    const text = value.trim();
    if (!/^(oxlint|eslint)-disable|^(oxfmt|prettier)-ignore/.test(text)) continue;
    if (/ -- \S+ \S+/.test(text)) continue;
    const message = `silences a tool for no reason given; write "${text.split(" ")[0]} ... -- why"`;
    findings.push({ path: file.path, line: lineOf(file, start), message });
  }
  return findings;
}

export const suppressions: Rule = {
  name: "whoever silences a tool says why",
  check: (files) => files.filter(isScript).flatMap(checkFile),
  broken: {
    "the linter, bare": [
      fileFromText("src/mm/a.ts", `// oxlint-disable-next-line no-shadow\nf();`),
    ],
    "the formatter, bare": [fileFromText("src/mm/a.ts", `// oxfmt-ignore\nf();`)],
    "a reason of one word": [
      fileFromText("src/mm/a.ts", `// oxlint-disable-next-line no-shadow -- needed\nf();`),
    ],
  },
  sound: {
    "with a reason": [
      fileFromText(
        "src/mm/a.ts",
        `// oxlint-disable-next-line no-shadow -- the interface's twin\nf();`,
      ),
    ],
  },
};
