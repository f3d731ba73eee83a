/**
 * @module `npm run soak`: thirty minutes, or `--minutes`. Prints its seed, and a line for each
 * round. Exit status 0: all was right, nothing was left, memory stayed level; 1: not so; 2: a bad
 * option.
 */

import { CommandLine } from "../command-line.ts";
import { type SoakRound, isLevel, soak } from "./soak.ts";

const ROUND_MS = 10_000;

const commandLine = new CommandLine(
  "npm run soak",
  `
npm run soak -- [options]: plays rounds on one machine, beside a model of its bytes
  --minutes 30   how long
  --seed 5       what is played; default: another one each time
  --json         the rounds`,
);

function positive(name: string, text: string): number {
  if (!/^\d{1,9}(\.\d+)?$/.test(text) || Number(text) === 0)
    commandLine.refuse(`--${name} is ${JSON.stringify(text)}; give a number above 0`);
  return Number(text);
}

function readOptions(): { seed: number; minutes: number; isJson: boolean } {
  const values = commandLine.read({
    seed: { type: "string" },
    minutes: { type: "string", default: "30" },
    json: { type: "boolean", default: false },
  });
  const drawn = String(1 + Math.floor(Math.random() * 10 ** 8));
  return {
    seed: positive("seed", values.seed ?? drawn),
    minutes: positive("minutes", values.minutes),
    isJson: values.json,
  };
}

function describe(round: SoakRound, number: number, all: number): string {
  const { kind, operations, dispatches, refused, kills, isStopped, left, heapBytes } = round;
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const lost = Object.entries(left).map(([name, count]) => `${count} ${name}`);
  return [
    `${number}/${all} ${kind.padEnd(10)}`,
    `${operations} operations, ${dispatches} dispatches, ${refused} refused, ${kills} kills`,
    `heap ${mib(heapBytes)}, rss ${mib(round.rssBytes)}`,
    ...(isStopped ? ["a kill has stopped the machine"] : []),
    ...(lost.length > 0 ? [`lost with the dead: ${lost.join(", ")}`] : []),
  ].join("  ");
}

function summaryOf(played: readonly SoakRound[]): string {
  const sum = (of: (round: SoakRound) => number): number =>
    played.reduce((total, round) => total + of(round), 0);
  const operations = sum((round) => round.operations).toLocaleString("en");
  const stopped = sum((round) => (round.isStopped ? 1 : 0));
  return (
    `Rounds: ${played.length}; ${operations} operations, ${sum(({ kills }) => kills)} kills, ` +
    `of which ${stopped} stopped a machine: no wrong byte, nothing left, memory level`
  );
}

const { seed, minutes, isJson } = readOptions();
const all = Math.max(1, Math.round((minutes * 60_000) / ROUND_MS));
const rounds: SoakRound[] = [];
if (!isJson) process.stdout.write(`seed ${seed}, ${all} rounds\n`);
try {
  await soak({
    seed,
    rounds: all,
    roundMs: ROUND_MS,
    onRound: (round) => {
      rounds.push(round);
      if (!isJson) process.stdout.write(`${describe(round, rounds.length, all)}\n`);
    },
  });
  if (!isLevel(rounds)) throw new Error("memory did not stay level");
  if (!isJson) process.stdout.write(`${summaryOf(rounds)}\n`);
} catch (error) {
  process.stderr.write(`npm run soak: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
if (isJson) process.stdout.write(`${JSON.stringify({ seed, rounds })}\n`);
process.exit();
