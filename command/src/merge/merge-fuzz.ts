/** @module Merges the parts of one `hmm fuzz --programs` into the result of the whole. */

import { shellWord } from "../../../src/checker/replay/shell-word.ts";
import type { CommandContext } from "../command.ts";
import { EXIT_OK, EXIT_WRONG } from "../exit-status.ts";
import type { FuzzPart } from "../fuzz/fuzz-part.ts";
import { addFunctions } from "../fuzz/fuzz-coverage.ts";
import { whereText } from "../fuzz/scenario-file.ts";
import { onceEach } from "../fuzz/nature.ts";
import { coverageOf, fuzzSummary } from "../fuzz/fuzz-part.ts";

/** Prints the sums. The parts are complete and of one run. */
export function mergeFuzz(
  parts: readonly FuzzPart[],
  isJson: boolean,
  context: CommandContext,
): void {
  const { terminal } = context;
  const sum = (of: (part: FuzzPart) => number): number =>
    parts.reduce((all, part) => all + of(part), 0);
  const whole = {
    seed: parts[0]?.seed ?? 0,
    programs: sum(({ programs }) => programs),
    executions: sum(({ executions }) => executions),
    seconds: Math.max(...parts.map(({ seconds }) => seconds)),
    findings: onceEach(
      parts.flatMap(({ findings }) => findings).toSorted((a, b) => a.slice - b.slice),
      (finding) => finding,
    ),
  };
  const signals = Array.from(new Set(parts.flatMap((part) => part.signals)));
  const functions = addFunctions(parts.map((part) => part.functions));
  context.exitStatus = whole.findings.length === 0 ? EXIT_OK : EXIT_WRONG;
  if (isJson) {
    const coverage = coverageOf({ signals, functions });
    const said = { ...whole, signals: signals.length, coverage };
    terminal.out.write(`${JSON.stringify(said)}\n`);
    return;
  }
  const lines = whole.findings.map(({ kind, message, token, file }) => {
    return `${kind}: ${message}\n  hmm replay ${shellWord(token)}\n${whereText(file)}\n`;
  });
  const found = whole.findings.length;
  terminal.out.write(`${lines.join("")}${fuzzSummary({ ...whole, signals, functions, found })}`);
}
