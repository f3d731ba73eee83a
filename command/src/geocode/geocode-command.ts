/** @module `hmm run geocode`: the options of the main job, its progress, and its report. */

import type { Command } from "commander";

import type { CommandContext } from "../command.ts";
import {
  type DeviceName,
  MEMORY_HELP,
  type MemoryKind,
  budgetBytes,
  deviceName,
  memoryKind,
} from "../device-options.ts";
import { EXIT_OK, EXIT_WRONG } from "../exit-status.ts";
import { wholeNumber } from "../option-values.ts";
import { InterruptedJob } from "../interrupted-job.ts";
import { ProgressBar } from "../progress-bar.ts";
import { geocode } from "./geocode.ts";
import { QUESTION_LIMIT } from "./questions.ts";
import { geocodeJson, geocodeReport } from "./report.ts";

const THREAD_LIMIT = 32;

interface Flags {
  readonly points: number;
  readonly memory: MemoryKind;
  readonly budget?: number;
  readonly threads: number;
  readonly seed: number;
  readonly device: DeviceName;
  readonly json?: true;
}

export function addGeocode(run: Command, context: CommandContext): void {
  run
    .command("geocode")
    .description(
      "find the nearest city to a million places, on a device with memory for a quarter of the tree",
    )
    .option(
      "--points <count>",
      "questions to ask",
      wholeNumber("--points", 1, QUESTION_LIMIT),
      1_000_000,
    )
    .option("--memory <kind>", `of a software device: ${MEMORY_HELP}`, memoryKind, "remote")
    .option(
      "--budget <size>",
      "memory of the device, such as 2MiB (default: a quarter of the tree)",
      budgetBytes,
    )
    .option(
      "--threads <count>",
      "threads of a software device",
      wholeNumber("--threads", 1, THREAD_LIMIT),
      2,
    )
    .option(
      "--seed <number>",
      "of the questions and of the census",
      wholeNumber("--seed", 0, 2 ** 32 - 1),
      1,
    )
    .option(
      "--device <name>",
      "which device answers: software, or webgpu (npm's webgpu, and an adapter)",
      deviceName,
      "software",
    )
    .option("--json", "print one JSON object and nothing else on standard output")
    .action(async (flags: Flags) => await runGeocode(flags, context));
}

async function runGeocode(flags: Flags, context: CommandContext): Promise<void> {
  const { terminal } = context;
  const bar = new ProgressBar(terminal);
  using interrupted = new InterruptedJob(context, bar);
  const { points, device, memory, budget: memoryBytes, threads, seed } = flags;
  const onProgress = interrupted.progress.bind(interrupted);
  const options = { points, device, memory, memoryBytes, threads, seed, onProgress };
  const result = await interrupted.orStopped(geocode(options).finally(() => bar.clear()));
  if (result === undefined) return;
  terminal.out.write(
    flags.json === true
      ? `${JSON.stringify(geocodeJson(result))}\n`
      : geocodeReport(result, terminal.outColors, terminal.out.columns),
  );
  context.exitStatus = result.verified ? EXIT_OK : EXIT_WRONG;
}
