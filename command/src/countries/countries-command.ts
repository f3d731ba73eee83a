/** @module `hmm run countries`: the options of the job, its progress, its report and its map. */

import { writeFileSync } from "node:fs";

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
import { EXIT_OK, EXIT_WRONG, UsageError } from "../exit-status.ts";
import { InterruptedJob } from "../interrupted-job.ts";
import { requireWritableFile } from "../named-files.ts";
import { type Reader, quote, wholeNumber } from "../option-values.ts";
import { ProgressBar } from "../progress-bar.ts";
import { type CountriesResult, countries } from "./countries.ts";
import { paint } from "./map-colours.ts";
import { CREDIT, DETAILS, findMap } from "./map-source.ts";
import { encodePng } from "./png.ts";
import { type Box, WORLD, makeRaster } from "./raster.ts";
import { countriesJson, countriesReport } from "./report.ts";

const THREAD_LIMIT = 32;
const WIDTH_LIMIT = 16_384;
const POINTS_LIMIT: number = 2 ** 27;
const BUDGET_BYTES: number = 16 * 2 ** 20;

interface Flags {
  readonly map: string;
  readonly width: number;
  readonly box: Box;
  readonly png?: string;
  readonly device: DeviceName;
  readonly memory: MemoryKind;
  readonly budget: number;
  readonly threads: number;
  readonly json?: true;
}

/** West, south, east and north in degrees. */
export const boxOf: Reader<Box> = (text) => {
  const numbers = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  const [west = Number.NaN, south = Number.NaN, east = Number.NaN, north = Number.NaN] = numbers;
  const isBox = numbers.length === 4 && west >= -180 && south >= -90 && east <= 180 && north <= 90;
  if (isBox && west < east && south < north) return { west, south, east, north };
  throw new UsageError(
    `Cannot use ${quote(text)} as --box: must be west,south,east,north in degrees, such as 5.9,45.8,10.5,47.9`,
  );
};

export function addCountries(run: Command, context: CommandContext): void {
  run
    .command("countries")
    .description(
      "tell for each point of a map which country it is in, from borders that a device pages in",
    )
    .option(
      "--map <which>",
      `the borders: ${DETAILS.join(", ")} (packages @geo-maps/countries-land-*), or a GeoJSON file`,
      "1m",
    )
    .option(
      "--width <points>",
      "points in a row of the raster",
      wholeNumber("--width", 1, WIDTH_LIMIT),
      2048,
    )
    .option("--box <degrees>", "west,south,east,north (default: the world)", boxOf, WORLD)
    .option("--png <file>", "write the map as a PNG file")
    .option(
      "--device <name>",
      "which device classifies: webgpu (npm's webgpu, and an adapter) or software",
      deviceName,
      "webgpu",
    )
    .option("--memory <kind>", `of a software device: ${MEMORY_HELP}`, memoryKind, "remote")
    .option("--budget <size>", "memory of the device, such as 16MiB", budgetBytes, BUDGET_BYTES)
    .option(
      "--threads <count>",
      "threads of a software device",
      wholeNumber("--threads", 1, THREAD_LIMIT),
      2,
    )
    .option("--json", "print one JSON object and nothing else on standard output")
    .action(async (flags: Flags) => await runCountries(flags, context));
}

async function runCountries(flags: Flags, context: CommandContext): Promise<void> {
  const { box, width, png, device, memory, budget, threads } = flags;
  const source = findMap(flags.map);
  requireWritableFile("--png", png);
  const { height } = makeRaster(box, width);
  if (width * height > POINTS_LIMIT)
    throw new UsageError(
      `Cannot use a raster of ${width} x ${height}: it has more than ${POINTS_LIMIT} points; give a smaller --width`,
    );
  const { terminal } = context;
  const bar = new ProgressBar(terminal);
  using interrupted = new InterruptedJob(context, bar);
  const job = countries({
    source,
    box,
    width,
    choice: { device, memory, threads, budgetBytes: budget },
    onProgress: interrupted.progress.bind(interrupted),
  });
  const result = await interrupted.orStopped(job.finally(() => bar.clear()));
  if (result === undefined) return;
  if (png !== undefined) writePng(png, result);
  terminal.out.write(
    flags.json === true
      ? `${JSON.stringify(countriesJson(result))}\n`
      : countriesReport(result, terminal),
  );
  context.exitStatus = result.verified ? EXIT_OK : EXIT_WRONG;
}

function writePng(path: string, { raster, answers, options }: CountriesResult): void {
  const credit = options.source.packageName === undefined ? "" : CREDIT;
  writeFileSync(path, encodePng(raster.width, raster.height, paint(answers), credit));
}
