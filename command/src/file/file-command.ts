/** @module `hmm run file`: the options of the file job, its progress, and its report. */

import { accessSync, constants, statSync } from "node:fs";

import type { Command } from "commander";

import type { CommandContext } from "../command.ts";
import { MEMORY_HELP, type MemoryKind, budgetBytes, memoryKind } from "../device-options.ts";
import { EXIT_OK, EXIT_WRONG, UsageError } from "../exit-status.ts";
import { quote, sizeBytes, wholeNumber } from "../option-values.ts";
import { InterruptedJob } from "../interrupted-job.ts";
import { ProgressBar } from "../progress-bar.ts";
import { formatBytes } from "../quantities.ts";
import { analyzeFile } from "./file-job.ts";
import { fileJson, fileReport } from "./report.ts";

const THREAD_LIMIT = 32;
const MIB: number = 2 ** 20;
const LEAST_RAM_BYTES: number = MIB;
const GREATEST_RAM_BYTES: number = 16 * 2 ** 30;
/** What one source may have. */
const GREATEST_FILE_BYTES: number = 8 * 2 ** 30;

interface Flags {
  readonly memory: MemoryKind;
  readonly budget: number;
  readonly ram: number;
  readonly threads: number;
  readonly json?: true;
}

export function addFile(run: Command, context: CommandContext): void {
  run
    .command("file")
    .description("map a file, and let a device count its bytes and plot its entropy")
    .argument("<path>", "a file, also one that is larger than RAM")
    .option("--memory <kind>", MEMORY_HELP, memoryKind, "remote")
    .option("--budget <size>", "memory of the device, such as 4MiB", budgetBytes, 4 * MIB)
    .option(
      "--ram <size>",
      "RAM for pages of the file, such as 64MiB",
      sizeBytes("--ram", LEAST_RAM_BYTES, GREATEST_RAM_BYTES),
      64 * MIB,
    )
    .option(
      "--threads <count>",
      "threads of the device",
      wholeNumber("--threads", 1, THREAD_LIMIT),
      2,
    )
    .option("--json", "print one JSON object and nothing else on standard output")
    .action(async (path: string, flags: Flags) => await runFile(path, flags, context));
}

async function runFile(path: string, flags: Flags, context: CommandContext): Promise<void> {
  const { terminal } = context;
  const lengthBytes = lengthOf(path);
  const bar = new ProgressBar(terminal);
  using interrupted = new InterruptedJob(context, bar);
  const { memory, budget, ram: ramBytes, threads } = flags;
  const onProgress = interrupted.progress.bind(interrupted);
  const options = { path, lengthBytes, memory, budgetBytes: budget, ramBytes, threads, onProgress };
  const result = await interrupted.orStopped(analyzeFile(options).finally(() => bar.clear()));
  if (result === undefined) return;
  terminal.out.write(
    flags.json === true ? `${JSON.stringify(fileJson(result))}\n` : fileReport(result, terminal),
  );
  context.exitStatus = result.verified ? EXIT_OK : EXIT_WRONG;
}

/** Throws UsageError for what cannot be mapped. */
function lengthOf(path: string): number {
  const refuse = (why: string): never => {
    throw new UsageError(`Cannot analyze ${quote(path)}: ${why}`);
  };
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return refuse("there is no such file; give the path of one");
  if (!stats.isFile()) return refuse("it is no regular file; give the path of one");
  try {
    accessSync(path, constants.R_OK);
  } catch {
    return refuse("it may not be read; give one that you may read");
  }
  if (stats.size === 0) return refuse("it is empty; give one with at least one byte");
  if (stats.size > GREATEST_FILE_BYTES)
    return refuse(
      `it has ${formatBytes(stats.size)}, and a mapped file at most ${formatBytes(GREATEST_FILE_BYTES)}`,
    );
  return stats.size;
}
