/**
 * @module bench/results.json: what the last whole run found, and later ones of single figures, and
 * on which machine. It names neither the machine nor its paths.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { arch, cpus, platform, totalmem } from "node:os";
import { version } from "node:process";
import { type Measurement, median } from "./figure.ts";
import { figures } from "./figures.ts";
import type { Result } from "./report.ts";

const path: URL = new URL("../../bench/results.json", import.meta.url);

export interface KeptResults {
  readonly machine: string;
  readonly results: readonly Result[];
}

interface KeptFigure {
  readonly name: string;
  readonly notMeasured?: string;
  readonly readings?: NonNullable<Measurement["readings"]>;
}

export function describeMachine(): string {
  const memoryGiB = Math.round(totalmem() / 2 ** 30);
  return `Node ${version}, ${platform()} ${arch()}, ${cpus().length} x ${cpus()[0]?.model.trim() ?? "unknown processor"}, ${memoryGiB} GiB`;
}

/** The results as JSON, for people's own programs too. */
export function formatResults(results: readonly Result[]): string {
  const kept = results.map(({ figure: { name, title, bound, method }, measurement }) => ({
    name,
    title,
    bound,
    method,
    notMeasured: measurement.notMeasured,
    readings: measurement.readings?.map((reading) => ({
      ...reading,
      median: median(reading.ratios),
    })),
  }));
  return `${JSON.stringify({ machine: describeMachine(), figures: kept }, undefined, 2)}\n`;
}

export function keepResults(results: readonly Result[]): void {
  writeFileSync(path, formatResults(results));
}

/** What is kept, with `results` in place of what it has of their figures. */
export function updated(results: readonly Result[]): Result[] {
  const ofFigure = new Map(results.map((result) => [result.figure.name, result]));
  return readKept().results.map((kept) => ofFigure.get(kept.figure.name) ?? kept);
}

/** Those of the last whole run. A figure that is new since was not measured. */
export function readKept(): KeptResults {
  const { machine, figures: kept } = JSON.parse(readFileSync(path, "utf8")) as {
    readonly machine: string;
    readonly figures: readonly KeptFigure[];
  };
  const results = figures.map((figure) => {
    const found = kept.find(({ name }) => name === figure.name);
    const measurement: Measurement =
      found?.readings === undefined
        ? { notMeasured: found?.notMeasured ?? "it is new since the last whole run" }
        : { readings: found.readings };
    return { figure, measurement };
  });
  return { machine, results };
}
