/** @module A row of a report: a bar of the stages of a job, each as long as it took. */

import { formatSeconds } from "./quantities.ts";
import type { Colors } from "./terminal.ts";
import type { Row } from "./text-table.ts";

const BAR_WIDTH = 32;
/** At most so many stages. */
const MARKS: readonly string[] = ["░", "▒", "█", "▓"];

/** `stages`: names and seconds, in their order. `seconds`: of the whole job. */
export function timeBar(
  stages: readonly (readonly [name: string, seconds: number])[],
  seconds: number,
  colors: Colors,
): Row {
  const bar = stages.map(([, took], place) =>
    (MARKS[place] ?? "").repeat(Math.round((took / seconds) * BAR_WIDTH)),
  );
  const legend = stages.map(
    ([name, took], place) => `${MARKS[place] ?? ""} ${name} ${formatSeconds(took)}`,
  );
  return ["time", `${formatSeconds(seconds)}  ${colors.cyan(bar.join(""))}`, legend.join("  ")];
}
