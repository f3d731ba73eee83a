/** @module `hmm run`: workloads on real data. Without a name it lists them. */

import type { Command } from "commander";

import type { AddCommand, CommandContext } from "./command.ts";
import { UsageError } from "./exit-status.ts";
import { addCountries } from "./countries/countries-command.ts";
import { addFile } from "./file/file-command.ts";
import { addGeocode } from "./geocode/geocode-command.ts";
import { quote } from "./option-values.ts";
import { formatRows } from "./text-table.ts";

/** The workloads in the order of the list. To add one, add a file and a line here. */
const WORKLOADS: readonly AddCommand[] = [addGeocode, addFile, addCountries];

export function addRun(parent: Command, context: CommandContext): void {
  const run = parent
    .command("run")
    .description("run a workload on real data; without a name, list them")
    .argument("[workload]", "which one")
    .usage("<workload> [options]")
    .action((workload: string | undefined) => {
      if (workload !== undefined)
        throw new UsageError(`Unknown workload ${quote(workload)}; \`hmm run\` lists them`);
      context.terminal.out.write(listWorkloads(run, context));
    });
  for (const add of WORKLOADS) add(run, context);
}

function listWorkloads(run: Command, { terminal }: CommandContext): string {
  const rows = run.commands.map((workload) => [workload.name(), workload.description()] as const);
  return `Workloads:\n${formatRows(rows, terminal.outColors, terminal.out.columns)}\nStart one with \`hmm run <workload>\`; \`--help\` shows its options.\n`;
}
