/**
 * @module The file that `hmm fuzz` writes for a finding: a module without imports, so it can be
 * anywhere.
 */

import { shellWord } from "../../../src/checker/replay/shell-word.ts";
import type { FuzzFile } from "./fuzz-program.ts";
import type { ShrunkProgram } from "./shrink-program.ts";

/** The text of the module, for a file named `fileName`. */
export function scenarioFileText(
  fileName: string,
  { program, finding }: ShrunkProgram,
  seed: number,
): string {
  const file: FuzzFile = {
    fuzz: 1,
    name: fileName.replace(/\.mjs$/, ""),
    summary: `${finding.kind}: ${finding.message}`,
    preemptions: finding.preemptions,
    tasks: program.tasks,
  };
  const tasks = Object.entries(file.tasks).map(([task, calls]) => {
    const lines = calls.map((call) => `      ${JSON.stringify(call)},\n`);
    return `    ${task}: [\n${lines.join("")}    ],\n`;
  });
  return `// Found by \`hmm fuzz --seed ${seed}\`. Each task makes its calls in order, on one address space with three mapped pages and a device.
// \`hmm check ${fileName}\` explores it,
// \`hmm replay ${fileName}@${finding.token}\` shows what goes wrong.
export default {
  fuzz: 1,
  name: ${JSON.stringify(file.name)},
  summary: ${JSON.stringify(file.summary)},
  preemptions: ${file.preemptions},
  tasks: {
${tasks.join("")}  },
};
`;
}

/** What the file of a finding is for. */
export function whereText(file: string): string {
  return `\`${file}\` is the program: \`hmm check ${shellWord(file)}\` explores it.\n`;
}
