/** @module How results are shown on the screen, a few lines as each figure comes in. */

import { type Figure, type Measurement, type Reading, isKept, median } from "./figure.ts";

export interface Result {
  readonly figure: Figure;
  readonly measurement: Measurement;
}

export function formatRatio(ratio: number): string {
  return `${ratio.toFixed(2)}x`;
}

export function formatRange({ ratios }: Reading): string {
  return `${formatRatio(Math.min(...ratios))} to ${formatRatio(Math.max(...ratios))}`;
}

export function formatValue(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

export function describeBound({ bound }: Figure): string {
  return `${bound.kind} ${formatRatio(bound.ratio)}`;
}

export function verdictOf({ figure, measurement }: Result): string {
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
