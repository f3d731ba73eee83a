/**
 * @module How results are shown: a few lines on the screen as each figure comes in, and the page in
 * docs/.
 */

import { arch, cpus, platform, totalmem } from "node:os";
import { version } from "node:process";
import {
  type Figure,
  type Measurement,
  type Reading,
  isKept,
  median,
  worstReading,
} from "./figure.ts";

export interface Result {
  readonly figure: Figure;
  readonly measurement: Measurement;
}

function formatRatio(ratio: number): string {
  return `${ratio.toFixed(2)}x`;
}

function formatRange({ ratios }: Reading): string {
  return `${formatRatio(Math.min(...ratios))} to ${formatRatio(Math.max(...ratios))}`;
}

function formatValue(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

function describeBound({ bound }: Figure): string {
  return `${bound.kind} ${formatRatio(bound.ratio)}`;
}

function verdictOf({ figure, measurement }: Result): string {
  if (measurement.readings === undefined) return "not measured";
  return isKept(measurement.readings, figure.bound) ? "kept" : "MISSED";
}

/** One figure for the screen. */
export function renderRow(result: Result): string {
  const { figure, measurement } = result;
  const head = `${figure.name.padEnd(13)} ${verdictOf(result).padEnd(13)} ${describeBound(figure).padEnd(16)} ${figure.title}\n`;
  if (measurement.readings === undefined) return `${head}    ${measurement.notMeasured}\n`;
  const rows = measurement.readings.map((reading) => {
    const note = reading.isBound ? "" : "  (for orientation)";
    const values = `${formatValue(reading.ours)} against ${formatValue(reading.plain)} ${reading.unit}`;
    return `    ${formatRatio(median(reading.ratios)).padStart(8)}  ${formatRange(reading).padEnd(18)} ${reading.label}: ${values}${note}\n`;
  });
  return head + rows.join("");
}

/** The page. No names or paths of the machine. */
export function renderMarkdown(results: readonly Result[]): string {
  const memoryGiB = Math.round(totalmem() / 2 ** 30);
  const machine = `Node ${version}, ${platform()} ${arch()}, ${cpus().length} x ${cpus()[0]?.model.trim() ?? "unknown processor"}, ${memoryGiB} GiB`;
  const summary = results.map((result) => {
    const { figure, measurement } = result;
    const worst =
      measurement.readings === undefined
        ? undefined
        : worstReading(measurement.readings, figure.bound);
    const measured =
      worst === undefined
        ? "not measured"
        : `**${formatRatio(median(worst.ratios))}** (${formatRange(worst)})`;
    return `| ${figure.title} | ${describeBound(figure)} | ${measured} | ${verdictOf(result)} |`;
  });
  return [
    "# Benchmarks",
    "",
    "Written by `npm run bench`. Every figure is a ratio between something of this project and the plain thing that it is compared",
    "with, taken in pairs in one run on one machine: the median of the pairs, and the range. Each figure runs in a process of its own;",
    "where it has several readings, the worst of those that the bound asks for decides. A bound of 1.00x counts as kept up to 1.05x.",
    "",
    `Taken on: ${machine}.`,
    "",
    "| figure | bound | measured | |",
    "| --- | --- | --- | --- |",
    ...summary,
    "",
    "![What one load costs over the size of the working set](load.svg)",
    "",
    ...results.flatMap(renderDetails),
  ].join("\n");
}

function renderDetails({ figure, measurement }: Result): string[] {
  const head = [`## ${figure.name}`, "", figure.method, ""];
  if (measurement.readings === undefined)
    return [...head, `Not measured: ${measurement.notMeasured}`, ""];
  const rows = measurement.readings.map((reading) => {
    const label = reading.isBound ? reading.label : `${reading.label} (for orientation)`;
    return `| ${label} | ${formatRatio(median(reading.ratios))} | ${formatRange(reading)} | ${formatValue(reading.ours)} | ${formatValue(reading.plain)} | ${reading.unit} |`;
  });
  const lessons = figure.lessons === undefined ? [] : [figure.lessons, ""];
  return [
    ...head,
    "| reading | median | range | ours | plain | unit |",
    "| --- | --- | --- | --- | --- | --- |",
    ...rows,
    "",
    ...lessons,
  ];
}
