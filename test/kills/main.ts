/**
 * @module `npm run kills`: threads are terminated at random moments, and what becomes of their
 * machines is counted. What is found is kept in .kills/, by host and seed: a campaign that was
 * stopped goes on with the same seed. Exit status 0: nobody hung and nothing was wrong; 1: somebody
 * or something was; 2: a bad option; 130: Ctrl-C, after the kill under way.
 */

import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { EXIT_INTERRUPTED } from "../../command/src/interruption.ts";
import { ProgressBar } from "../../command/src/progress-bar.ts";
import { makeTerminal } from "../../command/src/terminal.ts";
import { findChromium } from "../browser/find-chromium.ts";
import { CommandLine } from "../command-line.ts";
import { carryOut, ordersOf, renderSummary, summarise } from "./campaign.ts";
import type { Kill } from "./kill.ts";
import { type StartLane, startChromiumLane, startProcessLane } from "./lanes.ts";
import { LOADS, type LoadName, isLoadName } from "./loads.ts";

const FOLDER = ".kills";
const HOSTS = ["node", "chromium"] as const;

interface Options {
  readonly seed: number;
  readonly each: number;
  readonly jobs: number;
  readonly loads: readonly LoadName[];
  readonly host: (typeof HOSTS)[number];
  readonly isJson: boolean;
  readonly isFresh: boolean;
}

const commandLine = new CommandLine(
  "npm run kills",
  `
npm run kills -- [options]: terminates threads at random moments, and counts what becomes of it
  --each 100        kills of each load
  --only map,fork   these loads
  --seed 5          the moments of the deaths; results are kept by seed
  --fresh           kept results do not count
  --jobs 2          lanes that kill at the same time, a process or a browser each
  --in chromium     the threads are a browser's; default: node
  --json            the rows of the table, and each kill`,
);

function readLoads(text: string | undefined): LoadName[] {
  const names = text?.split(",") ?? Object.keys(LOADS);
  const loads = names.filter(isLoadName);
  const other = names.find((name) => !isLoadName(name));
  if (other !== undefined)
    commandLine.refuse(
      `no load is called ${JSON.stringify(other)}; there are ${Object.keys(LOADS).join(", ")}`,
    );
  return loads;
}

function readHost(text: string): Options["host"] {
  const host = HOSTS.find((name) => name === text);
  return host ?? commandLine.refuse(`--in is ${JSON.stringify(text)}; give node or chromium`);
}

/** Whoever starts the lanes of a host. */
function laneStarterOf(host: Options["host"]): StartLane {
  if (host === "node") return startProcessLane;
  const { path: program, missing } = findChromium();
  return missing === undefined
    ? (silenceMs) => startChromiumLane(program, silenceMs)
    : commandLine.refuse(missing);
}

function readOptions(): Options {
  const text = { type: "string" } as const;
  const flag = { type: "boolean", default: false } as const;
  const values = commandLine.read({
    seed: text,
    each: { ...text, default: "100" },
    jobs: { ...text, default: "1" },
    only: text,
    in: { ...text, default: "node" },
    json: flag,
    fresh: flag,
  });
  const drawn = String(Math.floor(Math.random() * 10 ** 9));
  return {
    seed: commandLine.wholeNumber("seed", values.seed ?? drawn),
    each: commandLine.wholeNumber("each", values.each, 1),
    jobs: commandLine.wholeNumber("jobs", values.jobs, 1),
    loads: readLoads(values.only),
    host: readHost(values.in),
    isJson: values.json,
    isFresh: values.fresh,
  };
}

/** The kills of an earlier run with this seed. A line that was cut off is left out. */
function readKept(path: string): Kill[] {
  if (!existsSync(path)) return [];
  const kept: Kill[] = [];
  for (const line of readFileSync(path, "utf8").split("\n")) {
    try {
      if (line !== "") kept.push(JSON.parse(line) as Kill); // our own file
    } catch {
      process.stderr.write("npm run kills: a line of the kept results is damaged, and left out\n");
    }
  }
  return kept;
}

const options = readOptions();
const startLane = laneStarterOf(options.host);
const path = `${FOLDER}/${options.host === "node" ? "" : `${options.host}-`}${options.seed}.jsonl`;
mkdirSync(FOLDER, { recursive: true });
if (options.isFresh) rmSync(path, { force: true });
const orders = ordersOf(options.seed, options.loads, options.each);
const isMeant = (kill: Kill): boolean =>
  orders.some(({ load, index }) => load === kill.load && index === kill.index);
const kills = readKept(path).filter(isMeant);
const done = new Set(kills.map(({ load, index }) => `${load} ${index}`));
if (!options.isJson) process.stdout.write(`seed ${options.seed}, ${orders.length} kills\n`);
const bar = new ProgressBar(makeTerminal(process.stdout, process.stderr, process.env));
let isInterrupted = false;
process.once("SIGINT", () => (isInterrupted = true));
await carryOut(
  orders.filter(({ load, index }) => !done.has(`${load} ${index}`)),
  {
    startLane,
    lanes: options.jobs,
    onKill: (kill) => {
      kills.push(kill);
      appendFileSync(path, `${JSON.stringify(kill)}\n`);
      bar.update("kills", kills.length, orders.length);
    },
    isOver: () => isInterrupted,
  },
);
bar.clear();
const rows = summarise(kills);
process.stdout.write(
  options.isJson ? `${JSON.stringify({ seed: options.seed, rows, kills })}\n` : renderSummary(rows),
);
const isBad = kills.some(({ outcome }) => outcome === "hung" || outcome === "wrong");
process.exitCode = isBad ? 1 : isInterrupted ? EXIT_INTERRUPTED : 0;
