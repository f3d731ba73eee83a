/** @module What the file job says when it is done: for people, and as one JSON object. */

import { formatBytes, formatCount, formatSeconds, formatThings } from "../quantities.ts";
import type { Terminal } from "../terminal.ts";
import { type Row, formatRows } from "../text-table.ts";
import { BLOCK_BYTES } from "./blocks.ts";
import { plotLines } from "./entropy-plot.ts";
import type { FileResult } from "./file-job.ts";

const WIDTH_ELSE = 80;
const PLOT_WIDTH_MAX = 72;
/** Columns beside the plot: its axis, and the margin of the report. */
const PLOT_MARGIN = 6;
const TOP_BYTES = 5;
const BAR_WIDTH = 20;

/** Shannon entropy of all bytes together, in bits a byte. */
export function wholeEntropy({ counts, options }: FileResult): number {
  const total = options.lengthBytes;
  return counts.reduce(
    (bits, count) => (count === 0 ? bits : bits - (count / total) * Math.log2(count / total)),
    0,
  );
}

/** The report for people. */
export function fileReport(result: FileResult, { out, outColors }: Terminal): string {
  const { options, verified, verdict } = result;
  const columns = Math.min(Math.max((out.columns ?? WIDTH_ELSE) - PLOT_MARGIN, 1), PLOT_WIDTH_MAX);
  const plot = plotLines(result.entropies, columns)
    .map((line) => `  ${outColors.cyan(line)}\n`)
    .join("");
  const end = verified
    ? outColors.green("A plain read of the file says the same.")
    : outColors.red(
        `A plain read says otherwise of ${formatThings(verdict.wrongBlocks, "block")} and of ` +
          `${formatThings(verdict.wrongCounts, "byte")}. This must not happen, unless the file has changed.`,
      );
  const heading = outColors.bold(`${formatBytes(options.lengthBytes)} through a device`);
  const rows = formatRows([...workRows(result), ...byteRows(result)], outColors, out.columns);
  return `\n${heading}\n\n${rows}\n  bits a byte, over the file\n${plot}\n${end}\n`;
}

function workRows(result: FileResult): Row[] {
  const { options, device, space, entropies } = result;
  const [least, greatest] = rangeOf(entropies);
  const { sourceReads } = space.counters;
  const rate = options.lengthBytes / 2 ** 20 / result.analyzeSeconds;
  return [
    ["file", options.path.replaceAll(/\p{C}/gu, "?")],
    [
      "blocks",
      `${formatCount(entropies.length)} of ${formatBytes(BLOCK_BYTES)}, from ${least.toFixed(3)} to ` +
        `${greatest.toFixed(3)} bits a byte; all bytes together ${wholeEntropy(result).toFixed(3)}`,
    ],
    [
      "device",
      `software, ${options.memory}, ${formatThings(options.threads, "thread")}, ` +
        `${formatBytes(options.budgetBytes)}; RAM ${formatBytes(options.ramBytes)}`,
    ],
    [
      "analyzed",
      `in ${formatSeconds(result.analyzeSeconds)}, ${formatCount(rate)} MiB a second; ` +
        `checked in ${formatSeconds(result.checkSeconds)}`,
    ],
    [
      "faults",
      `${formatCount(device.faults)} of the device in ${formatThings(device.batches, "batch", "batches")}, ` +
        `${formatBytes(device.bytesToDevice)} copied to it, ${formatThings(device.remoteMaps, "page")} used in RAM, ` +
        `${formatThings(device.evictions, "eviction")}, ` +
        `${formatThings(sourceReads, "wait")} for the file`,
    ],
    ["memory", memoryText(result)],
  ];
}

function memoryText({ space, smaps }: FileResult): string {
  const { residentBytes, deviceBytes } = smaps.total;
  return (
    `${formatBytes(residentBytes - deviceBytes)} of the space in RAM at the end, ` +
    `${formatBytes(deviceBytes)} on the device; ` +
    formatThings(space.counters.invalidations, "invalidation")
  );
}

function rangeOf(values: Float64Array): [least: number, greatest: number] {
  let [least, greatest] = [Infinity, -Infinity];
  for (const value of values) {
    least = Math.min(least, value);
    greatest = Math.max(greatest, value);
  }
  return [least, greatest];
}

/** The most frequent bytes. */
function byteRows({ counts, options }: FileResult): Row[] {
  const order = Array.from(counts, (count, byte) => ({ count, byte })).toSorted(
    (a, b) => b.count - a.count || a.byte - b.byte,
  );
  const shown = order.slice(0, TOP_BYTES).filter(({ count }) => count > 0);
  const lines = shown.map(({ count, byte }) => {
    const share = count / options.lengthBytes;
    const bar = "█".repeat(Math.round(share * BAR_WIDTH));
    return `${nameOf(byte)} ${(100 * share).toFixed(1).padStart(5)} %  ${bar}`.trimEnd();
  });
  return [["bytes", ...lines]];
}

function nameOf(byte: number): string {
  const isPrintable = byte > 0x20 && byte < 0x7f;
  return `0x${byte.toString(16).padStart(2, "0")} ${isPrintable ? String.fromCharCode(byte) : " "}`;
}

/** The result as data: entropies by block, counts by byte. */
export function fileJson(result: FileResult): Record<string, unknown> {
  const { options, device, space, verdict } = result;
  const [least, greatest] = rangeOf(result.entropies);
  return {
    workload: "file",
    device: "software",
    memory: options.memory,
    verified: result.verified,
    path: options.path,
    lengthBytes: options.lengthBytes,
    blockBytes: BLOCK_BYTES,
    blocks: result.entropies.length,
    wrongBlocks: verdict.wrongBlocks,
    wrongCounts: verdict.wrongCounts,
    checkedBytes: verdict.checkedBytes,
    entropy: wholeEntropy(result),
    leastEntropy: least,
    greatestEntropy: greatest,
    budgetBytes: options.budgetBytes,
    ramBytes: options.ramBytes,
    threads: options.threads,
    faults: device.faults,
    batches: device.batches,
    bytesToDevice: device.bytesToDevice,
    evictions: device.evictions,
    invalidations: device.invalidations,
    counters: space.counters,
    residentBytes: result.smaps.total.residentBytes,
    deviceBytes: result.smaps.total.deviceBytes,
    analyzeSeconds: result.analyzeSeconds,
    checkSeconds: result.checkSeconds,
    entropies: Array.from(result.entropies),
    counts: Array.from(result.counts),
  };
}
