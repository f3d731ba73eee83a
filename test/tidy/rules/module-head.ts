/** @module Each file that ships begins by saying what it is. */

import { fileFromText, isPackaged, parseFile, type ProjectFile } from "../project-file.ts";
import type { Finding, Rule } from "../rule.ts";

const headLettersMin = 40;

function checkFile(file: ProjectFile): Finding[] {
  const { comments, program } = parseFile(file);
  const head = comments[0];
  const codeStart = program.body[0]?.start ?? file.text.length;
  const blame = (message: string): Finding[] => [{ path: file.path, line: 1, message }];
  if (head === undefined || head.start > codeStart || !/^\*\s+(\*\s+)?@module\b/.test(head.value)) {
    return blame(
      "does not begin with /** @module ... */: say what this is, what it is not, its locks and invariants",
    );
  }
  const letters = head.value.replace(/@module/, "").replace(/[^\p{L}]/gu, "").length;
  if (letters < headLettersMin)
    return blame("has a head that says too little: what is it, and what is it not?");
  return [];
}

const sentence = "The page table: a radix tree of words, changed under pageTableLock.";

export const moduleHead: Rule = {
  name: "each file that ships begins with a @module comment",
  check: (files) => files.filter(isPackaged).flatMap(checkFile),
  broken: {
    "no head": [fileFromText("src/mm/a.ts", `import "./b.ts";`)],
    "a head after the code": [
      fileFromText("src/mm/a.ts", `import "./b.ts";\n/** @module ${sentence} */`),
    ],
    "a head without @module": [fileFromText("src/mm/a.ts", `/** ${sentence} */`)],
    "a head that only names itself": [
      fileFromText("src/mm/a.ts", `/** @module page-table */\nf();`),
    ],
  },
  sound: {
    "one line": [fileFromText("src/mm/a.ts", `/** @module ${sentence} */\nimport "./b.ts";`)],
    "several lines": [
      fileFromText("src/mm/a.ts", `/**\n * @module ${sentence}\n *\n * Locks: none.\n */\nf();`),
    ],
    "a script": [
      fileFromText("command/src/main.ts", `#!/usr/bin/env node\n/** @module ${sentence} */\nf();`),
    ],
  },
};
