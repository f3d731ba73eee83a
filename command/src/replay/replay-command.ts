/** @module `hmm replay TOKEN`: shows the schedule of a finding again, as `hmm check` did. */

import { writeFileSync } from "node:fs";

import type { Command } from "commander";

import { parseToken } from "../../../src/checker/findings/token.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { renderReport } from "../../../src/checker/report/report.ts";
import { namedScenario } from "../check/chosen-scenarios.ts";
import { budgetOf } from "../check/engine-choice.ts";
import { findingText, showFinding } from "../check/shown-finding.ts";
import type { ShownFinding } from "../check/shown-finding.ts";
import type { CommandContext } from "../command.ts";
import { EXIT_OK, EXIT_WRONG, UsageError } from "../exit-status.ts";
import { loadSecondsOption } from "../load-seconds.ts";
import { requireWritableFile } from "../named-files.ts";
import { quote } from "../option-values.ts";

interface Flags {
  readonly html?: string;
  readonly loadSeconds: number;
  readonly json?: true;
}

export function addReplay(parent: Command, context: CommandContext): void {
  parent
    .command("replay")
    .description("show a finding of `hmm check` again, beside the nearest schedule that passes")
    .argument("<token>", "what was printed with the finding: a scenario, @, and a schedule")
    .addOption(loadSecondsOption())
    .option("--html <file>", "write the timeline to a page to step through")
    .option("--json", "print the recording as one JSON object and nothing else on standard output")
    .action(async (token: string, flags: Flags) => await replay(token, flags, context));
}

async function replay(token: string, flags: Flags, context: CommandContext): Promise<void> {
  requireWritableFile("--html", flags.html);
  const { name, schedule } = partsOf(token);
  const { scenario } = await namedScenario(name, flags.loadSeconds);
  const shown = showAgain(scenario, schedule, token);
  if (flags.html !== undefined) writeFileSync(flags.html, renderReport([shown]));
  const { terminal } = context;
  terminal.out.write(
    flags.json === true ? `${JSON.stringify(shown.recording)}\n` : findingText(shown, terminal),
  );
  const { finding } = shown.recording;
  context.exitStatus =
    finding === undefined || finding.kind === scenario.expects ? EXIT_OK : EXIT_WRONG;
}

/** `patches/01/before@h1-a5b3`: the scenario before the last `@`, the schedule after it. */
function partsOf(token: string): { readonly name: string; readonly schedule: string } {
  const at = token.lastIndexOf("@");
  if (at <= 0) {
    throw new UsageError(
      `Cannot replay ${quote(token)}: it must name a scenario and a schedule, such as patches/01/before@h1-a5b3`,
    );
  }
  const schedule = token.slice(at + 1);
  try {
    parseToken(schedule);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new UsageError(error.message);
  }
  return { name: token.slice(0, at), schedule };
}

function showAgain(scenario: AnyScenario, schedule: string, token: string): ShownFinding {
  try {
    return showFinding(scenario, schedule, budgetOf(scenario.exploration ?? {}));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const reason = error.message.replace(/^Cannot replay: /, "");
    throw new UsageError(
      `Cannot replay ${quote(token)}: ${reason} \`hmm check ${scenario.name}\` finds the schedule anew if the scenario has changed`,
    );
  }
}
