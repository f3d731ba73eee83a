/**
 * @module A campaign of kills: so many for each load, in lanes of their own. The moments of the
 * deaths come from the seed; what a thread does at that moment does not, so a kill can be repeated
 * only often, not exactly.
 */

import type { Kill, KillOrder, Outcome } from "./kill.ts";
import type { StartLane } from "./lanes.ts";
import { LOADS, type LoadName, isLoadName } from "./loads.ts";

/** A lane that says nothing for so long hangs. */
const SILENCE_MS = 90_000;
const DELAY_MS_MAX = 20;

/** A number from 0 to 1 that is the same for the same three (mulberry32). */
function chanceOf(seed: number, load: LoadName, index: number): number {
  const salt = Object.keys(LOADS).indexOf(load) * 7919 + index * 104729;
  let mixed = (seed + Math.imul(salt, 0x6d2b79f5)) | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 15), 1 | mixed);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}

/** All kills of a campaign: a kill of each load in turn, so that a part of it is a sample. */
export function ordersOf(seed: number, loads: readonly LoadName[], each: number): KillOrder[] {
  const orders: KillOrder[] = [];
  for (let index = 0; index < each; index++)
    for (const load of loads)
      orders.push({ load, index, delayMs: chanceOf(seed, load, index) * DELAY_MS_MAX });
  return orders;
}

interface Course {
  readonly startLane: StartLane;
  /** How many kill at the same time. */
  readonly lanes?: number;
  readonly silenceMs?: number;
  readonly onKill: (kill: Kill) => void;
  /** Asked before each kill: whether to end early. */
  readonly isOver?: () => boolean;
}

/** Carries out the orders, and tells of each kill. */
export async function carryOut(orders: readonly KillOrder[], course: Course): Promise<void> {
  const { startLane, lanes = 1, silenceMs = SILENCE_MS, onKill, isOver } = course;
  const left = [...orders];
  const work = async (): Promise<void> => {
    const lane = startLane(silenceMs);
    for (let order = left.shift(); order !== undefined; order = left.shift()) {
      if (isOver?.() === true) break;
      onKill(await lane.kill(order));
    }
    await lane.end();
  };
  await Promise.all(Array.from({ length: lanes }, work));
}

/** The row of one load. */
export interface LoadSummary {
  readonly load: string;
  readonly kills: number;
  readonly hung: number;
  readonly wrong: number;
  readonly stopped: number;
  readonly leaked: number;
  readonly frames: number;
  readonly spaces: number;
  /** The longest. */
  readonly noticedMs: number;
  /** What stopped machines, and what leaked, each with how often. */
  readonly details: Readonly<Record<string, number>>;
}

function summaryOf(load: string, kills: readonly Kill[]): LoadSummary {
  const count = (outcome: Outcome): number =>
    kills.filter((kill) => kill.outcome === outcome).length;
  const details: Record<string, number> = {};
  const note = (what: string): void => void (details[what] = (details[what] ?? 0) + 1);
  for (const { detail, objects, frames } of kills) {
    if (detail !== undefined) note(detail);
    if (frames > 0) note("frames");
    for (const name of Object.keys(objects)) note(name);
  }
  return {
    load,
    kills: kills.length,
    hung: count("hung"),
    wrong: count("wrong"),
    stopped: count("stopped"),
    leaked: count("leaked"),
    frames: kills.reduce((sum, { frames }) => sum + frames, 0),
    spaces: kills.reduce((sum, { objects }) => sum + (objects["mm"] ?? 0), 0),
    noticedMs: Math.max(0, ...kills.map(({ noticedMs }) => noticedMs)),
    details,
  };
}

/** A row for each load that was played, and one for all. */
export function summarise(kills: readonly Kill[]): LoadSummary[] {
  const loads = Object.keys(LOADS).filter(isLoadName);
  const rows = loads
    .map((load) =>
      summaryOf(
        load,
        kills.filter((kill) => kill.load === load),
      ),
    )
    .filter((row) => row.kills > 0);
  return [...rows, summaryOf("all", kills)];
}

/** The rows as lines of text. */
export function renderSummary(rows: readonly LoadSummary[]): string {
  const names = ["load", "kills", "hung", "wrong", "stopped", "leaked", "frames", "spaces"];
  const cells = rows.map((row) =>
    [row.load, row.kills, row.hung, row.wrong, row.stopped, row.leaked, row.frames, row.spaces]
      .map(String)
      .concat(`${row.noticedMs} ms`),
  );
  const table = [[...names, "noticed"], ...cells];
  const widths = table[0]!.map((_, i) => Math.max(...table.map((line) => line[i]!.length)));
  const lines = table.map((line) =>
    line
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join("  "),
  );
  const reasons = rows
    .filter((row) => row.load !== "all" && Object.keys(row.details).length > 0)
    .map(
      (row) =>
        `${row.load}: ${Object.entries(row.details)
          .map((e) => e.join(" "))
          .join(", ")}`,
    );
  return `${[...lines, ...reasons].join("\n")}\n`;
}
