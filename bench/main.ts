/**
 * @module `npm run bench`: takes the figures, each in a process of its own, shows a table, and
 * writes bench/results.json, docs/BENCHMARKS.md and the plot in it, docs/load.svg. With names, only
 * those, and nothing is written without `--update`.
 */

import { fork } from "node:child_process";
import { writeFileSync } from "node:fs";
import { argv, exit, stderr, stdout } from "node:process";
import type { Figure, Measurement } from "./figure.ts";
import type { FigureMessage } from "./figure-process.ts";
import { figures } from "./figures.ts";
import { renderLoadPlot } from "./load-plot.ts";
import { renderPage } from "./page.ts";
import { type Result, renderRow } from "./report.ts";
import { describeMachine, formatResults, keepResults, readKept, updated } from "./results.ts";

interface Choice {
  readonly chosen: readonly Figure[];
  readonly isQuick: boolean;
  readonly isJson: boolean;
  /** Those that are named replace what docs/BENCHMARKS.md has of them. */
  readonly isUpdate: boolean;
}

const OPTIONS: ReadonlySet<string> = new Set(["--quick", "--json", "--update"]);

const HELP = `Usage: npm run bench [-- figures options]

Takes figures, each a ratio against the plain thing, and shows a row for each. Without names all are
taken, one after the other, and docs/BENCHMARKS.md is written anew.

  --quick     small sizes and few rounds: whether it works, not how fast it is
  --update    writes the named figures into docs/BENCHMARKS.md, if this is the machine of the others
  --json      the results as JSON
  -h, --help  this text

Figures ("webgpu" means all whose names begin so):
${figures.map(({ name, title }) => `  ${name.padEnd(15)} ${title}\n`).join("")}
Exit status: 0, 2 for a bad option.
`;

/** By its name; `webgpu` means all figures of that device. */
function isMeant({ name }: Figure, names: readonly string[]): boolean {
  return names.includes(name) || (names.includes("webgpu") && name.startsWith("webgpu-"));
}

/** Reads the command line; undefined, after saying why, when it makes no sense. */
function choose(words: readonly string[]): Choice | undefined {
  const names = words.filter((word) => !word.startsWith("--"));
  const unknown = [
    ...names.filter((name) => !figures.some((figure) => isMeant(figure, [name]))),
    ...words.filter((word) => word.startsWith("--") && !OPTIONS.has(word)),
  ];
  if (unknown.length > 0) {
    const known = figures.map(({ name }) => name).join(", ");
    stderr.write(
      `bench: Cannot use '${unknown.join("', '")}': figures are ${known}; options are --quick, --json, --update and --help\n`,
    );
    return undefined;
  }
  const isUpdate = words.includes("--update");
  const obstacle = isUpdate ? whyNoUpdate(words.includes("--quick")) : undefined;
  if (obstacle !== undefined) {
    stderr.write(`bench: Cannot use --update: ${obstacle}\n`);
    return undefined;
  }
  const chosen = names.length === 0 ? figures : figures.filter((figure) => isMeant(figure, names));
  const [isQuick, isJson] = [words.includes("--quick"), words.includes("--json")];
  return { chosen, isQuick, isJson, isUpdate };
}

function whyNoUpdate(isQuick: boolean): string | undefined {
  if (isQuick) return "quick figures do not say how fast it is; leave --quick out";
  const { machine } = readKept();
  if (machine === describeMachine()) return undefined;
  return `docs/BENCHMARKS.md was taken on another machine, ${machine}; take all figures here`;
}

function showProgress(figure: Figure, done: number, total: number): void {
  if (stderr.isTTY) stderr.write(`\r\u001B[K${figure.name}: round ${done} of ${total}`);
}

function take(figure: Figure, isQuick: boolean): Promise<Measurement> {
  return new Promise((resolve, reject) => {
    const process = figure.explores
      ? new URL("../stepped/bench/figure-process.js", import.meta.url)
      : new URL("./figure-process.js", import.meta.url);
    const child = fork(process, [figure.name, isQuick ? "quick" : "full"], {
      execArgv: ["--expose-gc"],
    });
    let measurement: Measurement | undefined;
    child.on("message", (message: FigureMessage) => {
      if (message.kind === "round") showProgress(figure, message.done, message.total);
      else measurement = message.measurement;
    });
    child.once("exit", (code) => {
      if (stderr.isTTY) stderr.write("\r\u001B[K");
      if (measurement === undefined)
        reject(new Error(`the figure ${figure.name} ended with ${String(code)} and no result`));
      else resolve(measurement);
    });
  });
}

/** What is kept, as the page in docs/ and its plot. */
function writePage(): void {
  const kept = readKept();
  writeFileSync(new URL("../../docs/BENCHMARKS.md", import.meta.url), renderPage(kept));
  const plot = renderLoadPlot(kept.results);
  if (plot !== undefined) writeFileSync(new URL("../../docs/load.svg", import.meta.url), plot);
}

async function main(): Promise<number> {
  const words = argv.slice(2);
  if (words.includes("--help") || words.includes("-h")) {
    stdout.write(HELP);
    return 0;
  }
  const choice = choose(words);
  if (choice === undefined) return 2;
  const results: Result[] = [];
  for (const figure of choice.chosen) {
    // One after the other: two at once would measure each other.
    const result = { figure, measurement: await take(figure, choice.isQuick) };
    results.push(result);
    if (!choice.isJson) stdout.write(renderRow(result));
  }
  if (choice.isJson) stdout.write(formatResults(results));
  const areAll = choice.chosen.length === figures.length;
  if (!choice.isQuick && (areAll || choice.isUpdate)) {
    keepResults(areAll ? results : updated(results));
    writePage();
  }
  return 0;
}

exit(await main());
