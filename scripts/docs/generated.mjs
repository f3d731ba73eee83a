/**
 * @module The parts of docs/ that come from the code: the lock order, the tables of structs, the
 * numbered invariants. It reads the built test folder (.build), so build first. scripts/docs.mjs
 * writes the texts, and a test compares them.
 */

import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { renderErrors } from "./errors.mjs";
import { renderExhibits } from "./exhibits.mjs";
import { renderExplored } from "./explored.mjs";
import { renderFreed } from "./freed.mjs";

const rootPath = fileURLToPath(new URL("../../", import.meta.url));

/** Source files of `src/`, as paths from there, in order. */
function sourcePaths() {
  return readdirSync(`${rootPath}src`, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts"))
    .toSorted();
}

/** Folders that declare structs. Worker entries are left out: importing one starts it. */
const STRUCT_FOLDERS = /^(?:memory|notifier|mm|hmm|space|devices)\//;
const WORKER_ENTRY = /-(?:worker|agent|kernel)\.ts$/;

async function loadStructs() {
  const paths = sourcePaths().filter(
    (path) => STRUCT_FOLDERS.test(path) && !WORKER_ENTRY.test(path),
  );
  for (const path of paths) {
    // One after the other: the order of declaration is the order of the tables.
    await import(new URL(`../../.build/src/${path.replace(/\.ts$/, ".js")}`, import.meta.url).href);
  }
}

/** @returns {Promise<string>} */
async function renderLocking() {
  await loadStructs();
  const order = await import(
    new URL("../../.build/src/sync/lockdep/lock-order.js", import.meta.url).href
  );
  const { describeStructs } = await import(
    new URL("../../.build/src/memory/layout/struct.js", import.meta.url).href
  );
  return [
    "# Locking",
    "",
    "Written by `npm run docs` from `src/sync/lockdep/lock-order.ts` and the structs' own tables; a test checks that it is current.",
    "",
    "Every lock has a class, and classes are ordered: outermost has the lowest rank. Debug builds (`debug: true`) check every",
    "acquisition against this order. The rule behind it all: **a driver's lock is never held while something is called that may",
    "change a mapping**, since that calls the driver back.",
    "",
    "## The order",
    "",
    order.lockOrderTable().trimEnd(),
    "",
    "```mermaid",
    order.lockOrderGraph().trimEnd(),
    "```",
    "",
    "## Reader-writer semaphores",
    "",
    "The kind `rwsem` (`mmapLock`, `mirrorsSem`) has many readers or one writer, and is fair in both directions: a writer that waits",
    "holds up later readers, and a writer that leaves lets the readers in that have waited.",
    "",
    "| who | writes | reads |",
    "| --- | --- | --- |",
    "| a reader | the reader word of its thread | the semaphore's STATE |",
    "| a reader whose thread uses that word for another semaphore | STATE, by compare-and-swap | |",
    "| a writer | STATE, by compare-and-swap | the reader word of every thread; sleeps on the first that names the semaphore |",
    "",
    "So readers do not disturb each other, and a writer pays for them: a load for each thread of the machine. A thread that dies as",
    "a reader, or as a writer that still waits, leaves nothing half done: whoever finds it dead gives up what it held. One that dies",
    "as the writer inside stops the machine, unless its changes are undone. `src/sync/words/reader-word.ts` has the races.",
    "",
    "## Locks whose holder may die",
    "",
    "Who dies holding one of these has changed nothing: it wrote down what was there before each store, in a log of its own record,",
    "and whoever finds it dead stores that again and releases the lock (`src/sync/words/undo-log.ts`, `src/sync/death/death.ts`).",
    "",
    order.undoneTable().trimEnd(),
    "",
    "What is changed under the mmap lock and cannot be taken back is finished by another thread (`src/mm/entries/invalidation.ts`), or marked from its beginning to its end: then a death stops the machine (`src/mm/half-done.ts`).",
    "",
    "An invalidation of which a device is told is brought to its end by whoever finds its thread dead (`src/notifier/notice.ts`). Until then the dead thread keeps what it held: the mmap lock, its read sections of `notifierSrcu`, and `mirrorsSem` for reading. What it changed under `rangesLock` is undone at once: it has begun the accounting of a start or an end, or has not.",
    "",
    "`deviceLock` is repaired: the device forgets its page table, which it can learn again, and then the lock is released (`src/sync/death/repair.ts`, `src/devices/service/repair-device.ts`). So is `webgpuDriverLock`: the device is told that every page has changed; and `gpuLock`, which its Worker alone takes (`src/devices/webgpu-record/repair-record.ts`). A driver of yours may do so with a class of locks of its own.",
    "",
    "A death in between stops the machine, as a death with any other lock that is held exclusively does.",
    "",
    "## What guards each field",
    "",
    "Words are 32 bits. `const` means: set before the object is published. `itself` means an embedded primitive with rules of its",
    "own.",
    "",
    describeStructs().trimEnd(),
    "",
  ].join("\n");
}

/**
 * The numbered rules in a file's head comment.
 *
 * @param {string} source
 * @returns {{ label: string, text: string }[]}
 */
function invariantsOf(source) {
  const head = /\/\*\*[\s\S]*?\*\//.exec(source)?.[0] ?? "";
  /** @type {{ label: string, text: string }[]} */
  const found = [];
  let isOpen = false;
  for (const line of head.split("\n")) {
    const text = line.replace(/^\s*\*\s?/, "");
    const begun = /^\s*([A-Z]{1,2}\d+)[.\s]\s*(.*)$/.exec(text);
    if (begun !== null) {
      found.push({ label: begun[1] ?? "", text: begun[2] ?? "" });
      isOpen = true;
    } else if (isOpen && /^\s{2,}\S/.test(text) && !/^\s{6,}\S.*\s{4,}\S/.test(text)) {
      const last = found.at(-1);
      if (last !== undefined) last.text += ` ${text.trim()}`;
    } else {
      isOpen = false;
    }
  }
  return found;
}

/**
 * @param {string} path From src/.
 * @param {string} label
 */
function hasRule(path, label) {
  const rules = invariantsOf(readFileSync(`${rootPath}src/${path}`, "utf8"));
  return rules.some((rule) => rule.label === label);
}

/** @returns {Promise<ReadonlySet<string>>} */
async function scenarioNames() {
  const built = new URL("../../.build/stepped/command/scenarios/all.js", import.meta.url);
  const { scenarios } = await import(built.href);
  return new Set(scenarios.map((/** @type {{ name: string }} */ { name }) => name));
}

/** @returns {Promise<string>} */
async function renderInvariants() {
  const known = { rootPath, hasRule, scenarios: await scenarioNames() };
  const sections = sourcePaths().flatMap((path) => {
    const rules = invariantsOf(readFileSync(`${rootPath}src/${path}`, "utf8"));
    if (rules.length === 0) return [];
    return [`## src/${path}`, "", ...rules.map(({ label, text }) => `- **${label}** ${text}`), ""];
  });
  return [
    "# Invariants",
    "",
    "Written by `npm run docs` from the heads of the source files, where each rule stands beside the code that keeps it; a test",
    "checks that it is current. Code cites a rule by its label; a label belongs to its file. R1 to R4, which belong to all, are in",
    "[ARCHITECTURE.md](ARCHITECTURE.md).",
    "",
    ...renderFreed(known),
    ...sections,
  ].join("\n");
}

/** Of what the last whole run of `npm run bench` has found. */
async function renderBenchmarks() {
  const [{ renderPage }, { readKept }] = await Promise.all(
    ["page", "results"].map(
      (name) => import(new URL(`../../.build/bench/${name}.js`, import.meta.url).href),
    ),
  );
  return renderPage(readKept());
}

/** @type {Record<string, () => string | Promise<string>>} */
const renderers = {
  "docs/LOCKING.md": renderLocking,
  "docs/INVARIANTS.md": renderInvariants,
  "docs/EXHIBITS.md": renderExhibits,
  "docs/EXPLORED.md": renderExplored,
  "docs/ERRORS.md": renderErrors,
  "docs/BENCHMARKS.md": renderBenchmarks,
};

/** Paths of the generated documents from the root. */
export const documentPaths = Object.keys(renderers);

/**
 * Whether `part` names one or more: it is a part of a path, in any case.
 *
 * @param {string} part
 */
export function isDocument(part) {
  return documentPaths.some((path) => path.toLowerCase().includes(part.toLowerCase()));
}

/**
 * Generated documents by their path from the root: every one, or those whose path contains one of
 * `wanted`, in any case.
 *
 * @param {readonly string[]} [wanted]
 * @returns {Promise<Map<string, string>>}
 */
export async function renderDocs(wanted = [""]) {
  /** @type {Map<string, string>} */
  const documents = new Map();
  for (const [path, render] of Object.entries(renderers)) {
    const isWanted = wanted.some((part) => path.toLowerCase().includes(part.toLowerCase()));
    if (isWanted) documents.set(path, await render());
  }
  return documents;
}
