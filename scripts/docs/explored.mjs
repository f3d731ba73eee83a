/**
 * @module docs/EXPLORED.md: which functions of src/ were explored against each other, and how far.
 * The scenarios in command/scenarios/coverage/ declare which functions each of their tasks runs; a
 * test checks that with V8. All other tasks in src/ are listed as not explored.
 */

import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const rootPath = fileURLToPath(new URL("../../", import.meta.url));

/**
 * @typedef {{ readonly engine?: string, readonly preemptions?: number, readonly executions?: number
 *   }} Exploration
 * @typedef {{ readonly name: string, readonly summary?: string, readonly exploration?: Exploration
 *   }} Scenario
 * @typedef {{ readonly layer: string, readonly scenario: Scenario, readonly twins: readonly
 *   Scenario[], readonly runs: Readonly<Record<string, readonly string[]>> }} Covered
 */

const COMPLETE = Infinity;

/**
 * Preemptions that were covered: COMPLETE for all, 0 for samples.
 *
 * @param {Scenario} scenario
 */
function boundOf({ exploration = {} }) {
  const { engine = "optimal", preemptions = 0 } = exploration;
  if (engine === "bounded") return preemptions;
  return ["optimal", "source", "sleep", "naive"].includes(engine) &&
    exploration.executions === undefined
    ? COMPLETE
    : 0;
}

/** @param {number} bound */
function boundText(bound) {
  if (bound === COMPLETE) return "complete";
  return bound === 0 ? "sampled" : `complete to ${bound} preemptions`;
}

/** @param {number} bound */
function mark(bound) {
  if (bound === COMPLETE) return "●";
  return bound === 0 ? "○" : `${bound}`;
}

/**
 * @param {string} first
 * @param {string} second
 */
function keyOf(first, second) {
  return first < second ? `${first} ${second}` : `${second} ${first}`;
}

/**
 * The best bound of each pair of functions that different tasks of one scenario run, by `first
 * second` in order.
 *
 * @param {readonly Covered[]} covered
 */
function pairsOf(covered) {
  /** @type {Map<string, number>} */
  const pairs = new Map();
  for (const { scenario, runs } of covered) {
    const tasks = Object.values(runs);
    tasks.forEach((first, i) => {
      for (const second of tasks.slice(i + 1)) {
        for (const a of first) {
          for (const b of second) {
            const key = keyOf(a, b);
            pairs.set(key, Math.max(pairs.get(key) ?? 0, boundOf(scenario)));
          }
        }
      }
    });
  }
  return pairs;
}

/** @param {readonly Covered[]} covered */
function renderMatrix(covered) {
  const pairs = pairsOf(covered);
  const names = [...new Set(covered.flatMap(({ runs }) => Object.values(runs).flat()))].toSorted();
  const rows = names.map((name, i) => {
    const cells = names.map((other, k) => {
      const bound = pairs.get(keyOf(name, other));
      return k > i || bound === undefined ? "" : mark(bound);
    });
    return `| ${i + 1} | \`${name}\` | ${cells.join(" | ")} |`;
  });
  return [
    `| | | ${names.map((_, i) => i + 1).join(" | ")} |`,
    `| --- | --- |${" --- |".repeat(names.length)}`,
    ...rows,
  ];
}

/** @param {readonly Covered[]} covered */
function renderScenarios(covered) {
  const rows = covered.map(({ scenario, twins }) => {
    const broken = twins.map(({ name }) => name.slice(scenario.name.length + 1)).join(", ");
    return `| \`${scenario.name}\` | ${scenario.summary ?? ""} | ${boundText(boundOf(scenario))} | ${broken} |`;
  });
  return [
    "| scenario | what happens at once | how far | broken twins |",
    "| --- | --- | --- | --- |",
    ...rows,
  ];
}

/**
 * Exported functions and public methods of a file that are tasks.
 *
 * @param {string} path from src/, without its ending
 */
function tasksOf(path) {
  const text = readFileSync(`${rootPath}src/${path}.ts`, "utf8");
  const found = text.matchAll(
    /^(?:export function\*? (?<name>\w+)|  \*?(?<method>[a-z]\w*))(?:<[^(]*>)?\([^{};]*\)?: Task<[^{;]*\{$/gm,
  );
  return Array.from(
    found,
    ({ groups }) => `${path}.${groups?.["name"] ?? groups?.["method"] ?? ""}`,
  );
}

/** @param {readonly Covered[]} covered */
function renderUnexplored(covered) {
  const isRun = new Set(covered.flatMap(({ runs }) => Object.values(runs).flat()));
  const layers = /^(?:sync|memory|mmu|notifier|mm|hmm|space|devices)\//;
  return readdirSync(`${rootPath}src`, { recursive: true, encoding: "utf8" })
    .filter((path) => layers.test(path) && path.endsWith(".ts"))
    .toSorted()
    .flatMap((path) => {
      const module = path.replace(/\.ts$/, "");
      const names = tasksOf(module)
        .filter((name) => !isRun.has(name) && !name.endsWith(".constructor"))
        .map((name) => `\`${name.slice(module.length + 1)}\``);
      return names.length === 0 ? [] : [`- \`${module}\`: ${names.join(", ")}`];
    });
}

/** @returns {Promise<string>} */
export async function renderExplored() {
  const list = new URL(
    "../../.build/stepped/command/scenarios/coverage/covered-list.js",
    import.meta.url,
  );
  const form = new URL(
    "../../.build/stepped/command/scenarios/coverage/covered.js",
    import.meta.url,
  );
  /** @type {readonly Covered[]} */
  const covered = (await import(list.href)).covered;
  /** @type {Readonly<Record<string, string>>} */
  const limits = (await import(form.href)).limitsOfCoverage;
  /** @type {readonly string[]} */
  const layers = (await import(form.href)).coveredLayers;
  const sections = layers.flatMap((layer) => {
    const ofLayer = covered.filter((one) => one.layer === layer);
    if (ofLayer.length === 0) return [];
    return [`## ${layer}`, "", ...renderMatrix(ofLayer), "", ...renderScenarios(ofLayer), ""];
  });
  return [
    "# What has been explored",
    "",
    "Written by `npm run docs` from the scenarios in `command/scenarios/coverage/`; a test checks that it is current, another that each",
    "scenario runs the functions that it names and is explored as far as it says, without a finding, while each of its broken twins",
    "is found out. `hmm check coverage` does the same.",
    "",
    "A cell says how far the functions of its row and its column have been explored against each other, in different tasks of one",
    "scenario: **●** every order of their steps that differs in more than the order of independent steps, **2** or **3** every order",
    "with at most so many preemptions, **○** some orders at random, nothing: not in one scenario of this layer. Functions are named by",
    "module: `mm/lifetime/mm.mmput` is `mmput` of `src/mm/lifetime/mm.ts`.",
    "",
    ...sections,
    "## What is not explored, and why",
    "",
    ...Object.values(limits).flatMap((text) => [`- ${text}`]),
    "",
    "Tasks of `src/` that no scenario of this group names. Many of them run all the same, as parts of those that are named; the exhibits",
    "of [EXHIBITS.md](EXHIBITS.md) name others.",
    "",
    ...renderUnexplored(covered),
    "",
  ].join("\n");
}
