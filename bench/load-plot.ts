/**
 * @module A plot of what one load costs over the size of the working set, as an SVG for the page in
 * docs/. Both axes are logarithmic. Each order of loads has two lines: through the address space,
 * and on a plain typed array.
 */

import type { Reading } from "./figure.ts";
import type { Result } from "./report.ts";

const WIDTH = 800;
const HEIGHT = 420;
const LEFT = 60;
const RIGHT = 220;
const TOP = 40;
const BOTTOM = 50;
const COLOURS = ["#1668b8", "#b8481b", "#3a7d2c"] as const;
const NS_TICKS = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] as const;
const KIB = 2 ** 10;
const MIB = 2 ** 20;
const GIB = 2 ** 30;

interface Line {
  readonly label: string;
  readonly colour: string;
  readonly isOurs: boolean;
  readonly points: readonly (readonly [bytes: number, ns: number])[];
}

type Placed = Reading & { readonly point: NonNullable<Reading["point"]> };

function linesOf(readings: readonly Placed[]): Line[] {
  const names = [...new Set(readings.map(({ point }) => point.series))];
  return names.flatMap((name, i) => {
    const own = readings
      .filter(({ point }) => point.series === name)
      .toSorted((a, b) => a.point.bytes - b.point.bytes);
    const colour = COLOURS[i % COLOURS.length]!;
    return [true, false].map((isOurs) => ({
      label: isOurs ? name : `${name}, plain`,
      colour,
      isOurs,
      points: own.map(({ point, ours, plain }) => [point.bytes, isOurs ? ours : plain] as const),
    }));
  });
}

function sizeText(bytes: number): string {
  if (bytes >= GIB) return `${bytes / GIB} GiB`;
  return bytes >= MIB ? `${bytes / MIB} MiB` : `${bytes / KIB} KiB`;
}

/** Maps a value of a logarithmic axis to its place between two ends. */
function scale(low: number, high: number, from: number, to: number): (value: number) => number {
  return (value) => from + (Math.log(value / low) / Math.log(high / low)) * (to - from);
}

/** Undefined where the results have nothing to plot. */
export function renderLoadPlot(results: readonly Result[]): string | undefined {
  const readings = results
    .flatMap(({ measurement }) => measurement.readings ?? [])
    .filter((reading): reading is Placed => reading.point !== undefined);
  if (readings.length === 0) return undefined;
  const lines = linesOf(readings);
  const sizes = [...new Set(readings.map(({ point }) => point.bytes))].toSorted((a, b) => a - b);
  const costs = lines.flatMap(({ points }) => points.map(([, ns]) => ns));
  const ticks = NS_TICKS.filter(
    (ns) => ns >= Math.min(...costs) / 2 && ns <= Math.max(...costs) * 2,
  );
  const bottom = HEIGHT - BOTTOM;
  const right = WIDTH - RIGHT;
  const x = scale(sizes[0]!, sizes.at(-1)!, LEFT, right);
  const y = scale(ticks[0]!, ticks.at(-1)!, bottom, TOP);
  const at = (value: number): string => value.toFixed(1);
  const grid = [
    ...ticks.map(
      (ns) =>
        `<line x1="${LEFT}" y1="${at(y(ns))}" x2="${right}" y2="${at(y(ns))}" stroke="#ddd"/><text x="${LEFT - 8}" y="${at(y(ns) + 4)}" text-anchor="end">${ns}</text>`,
    ),
    ...sizes.map(
      (bytes) =>
        `<line x1="${at(x(bytes))}" y1="${TOP}" x2="${at(x(bytes))}" y2="${bottom}" stroke="#eee"/><text x="${at(x(bytes))}" y="${bottom + 18}" text-anchor="middle">${sizeText(bytes)}</text>`,
    ),
  ];
  const drawn = lines.map(({ colour, isOurs, points }) => {
    const path = points.map(([bytes, ns]) => `${at(x(bytes))},${at(y(ns))}`).join(" ");
    const dash = isOurs ? "" : ` stroke-dasharray="5 4"`;
    return `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"${dash}/>`;
  });
  const legend = lines.map(({ label, colour, isOurs }, i) => {
    const row = TOP + 10 + i * 20;
    const dash = isOurs ? "" : ` stroke-dasharray="5 4"`;
    return `<line x1="${right + 16}" y1="${row}" x2="${right + 44}" y2="${row}" stroke="${colour}" stroke-width="2"${dash}/><text x="${right + 50}" y="${row + 4}">${label}</text>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    `<text x="${LEFT}" y="22" font-size="14">One load of 32 bits, in ns, over the size of the working set</text>`,
    ...grid,
    ...drawn,
    ...legend,
    "</svg>",
    "",
  ].join("\n");
}
