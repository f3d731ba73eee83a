/** @module Files are named in kebab-case after their idea; no drawer is called utils. */

import { fileFromText, type ProjectFile } from "../project-file.ts";
import type { Finding, Rule } from "../rule.ts";

const drawers = /^(utils?|helpers?|common|misc|shared|stuff|lib|tools)$/;
const kebab = /^[a-z0-9]+(-[a-z0-9]+)*$/;
/** README, CHANGELOG, docs/LOCKING.md: prose may shout. */
const shouting = /^[A-Z]+(-[A-Z]+)*$/;

function checkFile({ path }: ProjectFile): Finding[] {
  const findings: Finding[] = [];
  const blame = (message: string): void => void findings.push({ path, line: 1, message });
  for (const segment of path.split("/")) {
    const words = segment.replace(/^\./, "").split(".");
    const isProse = segment.endsWith(".md") || ["LICENSE", "NOTICE"].includes(segment);
    for (const word of words) {
      if (kebab.test(word) || (isProse && shouting.test(word))) continue;
      blame(`"${segment}" is not in kebab-case`);
      break;
    }
    if (words.some((word) => drawers.test(word)))
      blame(`"${segment}" names a drawer; name the idea`);
  }
  return findings;
}

export const names: Rule = {
  name: "files are named in kebab-case after one idea",
  check: (files) => files.flatMap(checkFile),
  broken: {
    "camel case": [fileFromText("src/mm/pageTable.ts", "")],
    "snake case": [fileFromText("src/mm/page_table.ts", "")],
    "a drawer": [fileFromText("src/mm/utils.ts", "")],
    "a drawer in the test": [fileFromText("test/mm/helpers.test.ts", "")],
    "a folder that is a drawer": [fileFromText("src/common/a.ts", "")],
    "shouting code": [fileFromText("src/MM.ts", "")],
  },
  sound: {
    "kebab case": [
      fileFromText("test/mmu/radix-table.test.ts", ""),
      fileFromText(".oxlintrc.json", ""),
    ],
    "prose that shouts": [
      fileFromText("docs/LOCKING.md", ""),
      fileFromText("LICENSE", ""),
      fileFromText("NOTICE", ""),
    ],
    "a word that contains one": [fileFromText("src/mm/utilisation.ts", "")],
  },
};
