/** @module Text for quantities, the same in all output: 1,234,567 and 2.1 MiB and 3.25 s. */

/** With groups of three digits. */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString("en-US");
}

/** In the largest binary unit in which the value is at least 1. */
export function formatBytes(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || Number.isInteger(value) ? 0 : 1;
  return `${value.toFixed(digits)} ${units[unit]!}`; // unit was kept inside
}

/** Milliseconds below one second. */
export function formatSeconds(seconds: number): string {
  return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(2)} s`;
}

/** `1 city`, `2 cities`. */
export function formatThings(count: number, one: string, many: string = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}
