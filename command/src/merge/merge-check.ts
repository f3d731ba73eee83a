/** @module Merges the parts of one `hmm check` into the table, or the JSON, of the whole. */

import { shellWord } from "../../../src/checker/replay/shell-word.ts";
import type { CommandContext } from "../command.ts";
import { isAsExpected } from "../check/check-row.ts";
import { CheckTable, summaryText } from "../check/check-table.ts";
import type { CheckPart } from "../check/check-part.ts";
import { EXIT_OK, EXIT_USAGE, EXIT_WRONG, UsageError } from "../exit-status.ts";

/**
 * Prints the whole. The parts are complete and of one run. Throws UsageError if a part was stopped.
 */
export function mergeCheck(
  parts: readonly CheckPart[],
  isJson: boolean,
  context: CommandContext,
): void {
  const { terminal } = context;
  const scenarios = parts[0]?.scenarios ?? [];
  const byName = new Map(
    parts.flatMap(({ rows }) => rows.map((judged) => [judged.row.scenario, judged] as const)),
  );
  const rows = scenarios.flatMap((name) => byName.get(name) ?? []);
  const missing = scenarios.filter((name) => !byName.has(name));
  if (missing.length > 0) {
    context.exitStatus = EXIT_USAGE;
    const [first = ""] = missing;
    throw new UsageError(
      `Cannot merge: ${missing.length} of ${scenarios.length} scenarios are in no part (${first}, for one); let each part end`,
    );
  }
  context.exitStatus = rows.every(isAsExpected) ? EXIT_OK : EXIT_WRONG;
  if (isJson) {
    terminal.out.write(`${JSON.stringify(rows.map(({ row }) => row))}\n`);
    return;
  }
  const table = new CheckTable(
    rows.map(({ row, expects }) => ({ name: row.scenario, expects })),
    terminal.outColors,
    terminal.out.columns,
  );
  const seconds = Math.max(...parts.map((part) => part.seconds));
  const tokens = rows.filter((judged) => !isAsExpected(judged)).flatMap(({ row }) => row.findings);
  const replays = tokens.map(
    ({ message, token }) => `${message}\n  hmm replay ${shellWord(token)}\n`,
  );
  terminal.out.write(
    [
      table.head(),
      ...rows.map((judged) => table.row(judged)),
      ...(replays.length === 0 ? [] : ["\n", ...replays]),
      `\n${summaryText(rows, seconds, terminal.outColors)}`,
    ].join(""),
  );
}
