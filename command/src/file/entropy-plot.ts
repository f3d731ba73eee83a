/** @module A small plot of numbers from 0 to 8 over the length of a file, for a terminal. */

const STEPS = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
const ROWS = 4;
const BITS = 8;
/** Steps of one row of characters. */
const ROW_STEPS: number = STEPS.length;

/** As many means as there are columns, or as there are values if those are fewer. */
export function columnsOf(values: Float64Array, columns: number): number[] {
  const count = Math.min(columns, values.length);
  return Array.from({ length: count }, (_, column) => {
    const first = Math.floor((column * values.length) / count);
    const end = Math.floor(((column + 1) * values.length) / count);
    return values.subarray(first, end).reduce((sum, value) => sum + value, 0) / (end - first);
  });
}

/** Lines of the plot, the highest first; a value above 0 has at least the lowest step. */
export function plotLines(values: Float64Array, columns: number): string[] {
  const heights = columnsOf(values, columns).map((value) => {
    const height = Math.round((value / BITS) * ROWS * ROW_STEPS);
    return value > 0 ? Math.max(1, height) : 0;
  });
  return Array.from({ length: ROWS }, (_, line) => {
    const below = (ROWS - 1 - line) * ROW_STEPS;
    const cells = heights.map((height) => {
      const steps = Math.min(ROW_STEPS, height - below);
      return steps <= 0 ? " " : STEPS[steps - 1]!;
    });
    const label = line === 0 ? String(BITS) : line === ROWS - 1 ? "0" : " ";
    return `${label} ┤${cells.join("")}`.trimEnd();
  });
}
