/**
 * @module How fast the checker explores: executions a second on one core, what a second thread
 * adds, and, for orientation, the programs of which Nidhugg's times with its optimal algorithm are
 * known. Its executions are of compiled code under an interpreter and its machine was another, so
 * those ratios say no more than of which size things are.
 */

import { explore } from "../src/checker/explore.ts";
import { exploreInParallel } from "../src/checker/parallel/parallel.ts";
import type { AnyScenario } from "../src/checker/scenario.ts";
import { dispatcher, filesystem, indexer } from "../test/checker/programs/locks.ts";
import {
  fib,
  floatingRead,
  lamport,
  lastzero,
  readers,
} from "../test/checker/programs/variables.ts";
import { type MeasureOptions, type Measurement, type Reading, median } from "./figure.ts";
import { measurePairs } from "./pairs.ts";
import { roundCounter } from "./round-counter.ts";

const ASKED_PER_SECOND = 50_000;
const ASKED_SPEED_UP = 1.6;
const ROUNDS = 5;

/** Classes, and seconds that Nidhugg takes. */
const published: readonly (readonly [AnyScenario, number, number])[] = [
  [readers(13), 8192, 1.98],
  [lastzero(10), 3328, 1.12],
  [lastzero(12), 15_360, 6.6],
  [indexer(15), 4096, 14.7],
  [filesystem(19), 64, 0.17],
  [fib(5), 218_243, 30.4],
  [floatingRead(8), 362_880, 63.7],
  [lamport(3, false), 20_741, 4.7],
  [dispatcher(5, 3), 1482, 0.85],
];
/** What a quick run leaves out. */
const LARGE_CLASSES = 10_000;

function exploreAll(program: AnyScenario, classes: number): number {
  const seen = explore(program, { lockdep: false, symmetry: false });
  if (seen.classes !== classes || seen.blocked !== 0 || !seen.complete) {
    throw new Error(
      `${program.name} has ${classes} classes; ${seen.classes} were seen, ${seen.blocked} blocked`,
    );
  }
  return seen.seconds;
}

/** Executions a second, against those asked for. */
function measureSpeed(
  program: AnyScenario,
  classes: number,
  rounds: number,
  onRound: () => void,
): Promise<Reading> {
  return measurePairs({
    label: `${program.name}, ${classes.toLocaleString("en")} executions by one thread, against ${ASKED_PER_SECOND.toLocaleString("en")} a second`,
    unit: "executions/s",
    rounds,
    onRound,
    ours: () => classes / exploreAll(program, classes),
    plain: () => ASKED_PER_SECOND,
  });
}

async function exploreIn(scenario: string, classes: number, jobs: number): Promise<number> {
  const module = new URL("../test/checker/parallel-programs.js", import.meta.url);
  const seen = await exploreInParallel({
    module,
    scenario,
    jobs,
    options: { lockdep: false, symmetry: false },
  });
  if (seen.classes !== classes || seen.blocked !== 0)
    throw new Error(`${scenario}: ${seen.classes} classes were seen`);
  return seen.seconds;
}

/** Speed-up by a second thread, against the one asked for; each side starts its threads anew. */
function measureThreads(
  program: AnyScenario,
  classes: number,
  rounds: number,
  onRound: () => void,
): Promise<Reading> {
  return measurePairs({
    label: `${program.name} by two Workers instead of one, against a speed-up of ${ASKED_SPEED_UP}x`,
    unit: "s",
    rounds,
    onRound,
    ours: () => exploreIn(program.name, classes, 2),
    plain: () => exploreIn(program.name, classes, 1),
    ratioOf: (together, alone) => alone / together / ASKED_SPEED_UP,
  });
}

/** How often our time goes into the published one. */
function measurePublished(
  program: AnyScenario,
  classes: number,
  seconds: number,
  rounds: number,
): Reading {
  const times = Array.from({ length: rounds }, () => exploreAll(program, classes));
  return {
    label: `${program.name}, ${classes.toLocaleString("en")} classes, against Nidhugg's published time`,
    ratios: times.map((time) => seconds / time),
    ours: median(times),
    plain: seconds,
    unit: "s",
    isBound: false,
  };
}

export async function measureChecker(options: MeasureOptions): Promise<Measurement> {
  const { isQuick } = options;
  const rounds = isQuick ? 1 : ROUNDS;
  const rows = published.filter(([, classes]) => !isQuick || classes < LARGE_CLASSES);
  const onRound = roundCounter(2 * rounds + rows.length, options);
  const [program, classes] = isQuick ? [fib(4), 19_605] : [fib(5), 218_243];
  const readings: Reading[] = [
    await measureSpeed(program, classes, rounds, onRound),
    await measureThreads(program, classes, rounds, onRound),
  ];
  for (const [row, count, seconds] of rows) {
    readings.push(measurePublished(row, count, seconds, count > LARGE_CLASSES || isQuick ? 1 : 3));
    onRound();
  }
  return { readings };
}
