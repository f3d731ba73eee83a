/** @module What the countries job says when it is done: for people, and as one JSON object. */

import { formatBytes, formatCount, formatSeconds, formatThings } from "../quantities.ts";
import type { Terminal } from "../terminal.ts";
import { type Row, formatRows } from "../text-table.ts";
import { timeBar } from "../time-bar.ts";
import type { CountriesResult, CountriesStage } from "./countries.ts";
import { degreesOf } from "./layout.ts";
import { CREDIT } from "./map-source.ts";

const STAGES: readonly CountriesStage[] = ["reading", "building", "classifying", "checking"];
const LARGEST = 6;

/** A country, and its part of what was asked. */
interface Share {
  readonly name: string;
  readonly points: number;
  /** Of the area of the box, 0 to 1. */
  readonly area: number;
}

/**
 * The countries that were found, the largest first. A pixel's area goes by the cosine of its
 * latitude.
 */
export function sharesOf({ answers, raster, names }: CountriesResult): Share[] {
  const points = new Float64Array(names.length + 1);
  const areas = new Float64Array(names.length + 1);
  let whole = 0;
  for (let row = 0; row < raster.height; row++) {
    const area = Math.cos((degreesOf(raster.ys[row] ?? 0) * Math.PI) / 180);
    whole += area * raster.width;
    for (const answer of answers.subarray(row * raster.width, (row + 1) * raster.width)) {
      points[answer]!++; // an answer is at most the number of names
      areas[answer]! += area;
    }
  }
  return names
    .map((name, index) => ({
      name,
      points: points[index + 1] ?? 0,
      area: (areas[index + 1] ?? 0) / whole,
    }))
    .filter((share) => share.points > 0)
    .toSorted((a, b) => b.area - a.area);
}

/** The report for people. */
export function countriesReport(result: CountriesResult, { out, outColors }: Terminal): string {
  const { answers, names, verified, verdict } = result;
  const heading = `${formatThings(answers.length, "point")}: which of ${formatThings(names.length, "country", "countries")} is each in?`;
  const end = verified
    ? outColors.green("Every point is where the borders say.")
    : outColors.red(
        `${formatCount(verdict.wrong)} of ${formatThings(answers.length, "point")} are wrong. This must not happen.`,
      );
  const examples = verdict.examples.map((example) => `    ${example}\n`).join("");
  const time = timeBar(
    STAGES.map((stage) => [stage, result.stageSeconds(stage)] as const),
    result.seconds,
    outColors,
  );
  const rows = [...workRows(result), ...foundRows(result), time, dataRow(result)];
  return `\n${outColors.bold(heading)}\n\n${formatRows(rows, outColors, out.columns)}\n${examples}${end}\n`;
}

function workRows(result: CountriesResult): Row[] {
  const { tree, classified, options, raster } = result;
  const { stats, seconds, passes } = classified;
  const treeBytes = tree.nodeBytes + tree.leafBytes;
  const { budgetBytes } = options.choice;
  const share =
    budgetBytes < treeBytes ? `${Math.round((100 * budgetBytes) / treeBytes)} %` : "all";
  return [
    [
      "borders",
      `${formatThings(result.rings, "ring")} of ${formatThings(result.places, "place")}, ` +
        `${formatBytes(options.source.lengthBytes)} of GeoJSON`,
    ],
    [
      "tree",
      `${formatBytes(treeBytes)}, ${formatThings(tree.leaves, "leaf", "leaves")}, ` +
        `${tree.depth} levels, built in ${formatSeconds(result.stageSeconds("building"))}`,
    ],
    [
      "device",
      `${classified.description}; ${formatBytes(budgetBytes)} of memory (${share} of the tree)`,
    ],
    [
      "classified",
      `${raster.width} x ${raster.height} points in ${formatSeconds(seconds)}: ` +
        `${formatCount(result.answers.length / seconds)} a second`,
    ],
    [
      "faults",
      `${formatCount(stats.faults)} in ${formatThings(stats.batches, "batch", "batches")}` +
        (passes > 0 ? `, ${formatThings(passes, "pass", "passes")} on the GPU` : ""),
    ],
    [
      "moved",
      `${formatBytes(stats.bytesToDevice)} copied to the device, ` +
        `${formatThings(stats.prefetched, "page")} ahead of a fault, ${formatThings(stats.evictions, "eviction")}`,
    ],
  ];
}

function foundRows(result: CountriesResult): Row[] {
  const shares = sharesOf(result);
  const land = shares.reduce((sum, { area }) => sum + area, 0);
  const percent = (area: number): string => `${(100 * area).toFixed(2)} %`;
  const largest = shares.slice(0, LARGEST).map(({ name, area }) => `${name} ${percent(area)}`);
  const { verdict } = result;
  return [
    [
      "found",
      `${formatThings(shares.length, "country", "countries")}, on ${percent(land)} of the area`,
      largest.join(", "),
    ],
    [
      "checked",
      `${formatThings(verdict.checked, "point")}, row by row, from the file itself: ` +
        `${formatCount(verdict.wrong)} wrong`,
    ],
  ];
}

function dataRow({ options }: CountriesResult): Row {
  const { packageName, path } = options.source;
  if (packageName === undefined) return ["data", path.replaceAll(/\p{C}/gu, "?")];
  return ["data", `${CREDIT}, in the package ${packageName}`];
}

/** The result as data: counts by country. */
export function countriesJson(result: CountriesResult): Record<string, unknown> {
  const { options, raster, tree, classified, verdict } = result;
  const { stats } = classified;
  const { choice, source } = options;
  return {
    workload: "countries",
    device: choice.device,
    memory: choice.device === "software" ? choice.memory : "remote",
    description: classified.description,
    verified: result.verified,
    points: verdict.checked,
    wrong: verdict.wrong,
    width: raster.width,
    height: raster.height,
    ...raster.box,
    map: source.packageName ?? source.path,
    credit: source.packageName === undefined ? null : CREDIT,
    countries: result.names.length,
    rings: result.rings,
    places: result.places,
    treeBytes: tree.nodeBytes + tree.leafBytes,
    budgetBytes: choice.budgetBytes,
    threads: choice.threads,
    pointsPerSecond: Math.round(verdict.checked / classified.seconds),
    faults: stats.faults,
    batches: stats.batches,
    passes: classified.passes,
    prefetched: stats.prefetched,
    bytesToDevice: stats.bytesToDevice,
    evictions: stats.evictions,
    invalidations: stats.invalidations,
    seconds: result.seconds,
    readingSeconds: result.stageSeconds("reading"),
    buildingSeconds: result.stageSeconds("building"),
    classifyingSeconds: classified.seconds,
    checkingSeconds: result.stageSeconds("checking"),
    found: Object.fromEntries(
      sharesOf(result).map(({ name, points, area }) => [name, { points, area }]),
    ),
  };
}
