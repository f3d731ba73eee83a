/**
 * @module docs/EXHIBITS.md: the exhibits of command/scenarios/ with the current results of the
 * checker. Every broken scenario is explored, minimised, and drawn; every sound one is explored as
 * far as it says. The document has no times and no line numbers, so it changes only if its content
 * does.
 */

/**
 * @typedef {import("../../src/checker/scenario.ts").AnyScenario} AnyScenario
 * @typedef {import("../../src/checker/explore.ts").Exploration} Exploration
 * @typedef {import("../../src/checker/replay/recording.ts").Recording} Recording
 * @typedef {import("../../command/scenarios/exhibit.ts").Exhibit} Exhibit
 */

const WIDTH = 118;

const INTRODUCTION = `
# Exhibits

Written by \`npm run docs\`, which runs every scenario of this page; a test checks that it is current.

In June 2019 a series of twelve patches made HMM safe against other threads. HMM is the part of Linux that lets a device
share a process's memory. Most of the bugs had been found by chance or by reading. This page shows each of them as the
checker finds it, which tries every order of the threads' steps. Then come the holes that the series left, two earlier
bugs of the same kind, and five of memory that moves between a process and a device.

Each chapter has a *broken* scenario, in which the code is as it was, and a *sound* one, which runs the code of
this project. The broken code is our own, written from the facts. It is in \`command/scenarios/\` alone.

## What HMM is, in ten lines

A process has an **address space** (an *mm*): a page table that says which frame of memory each page is. A device that
computes on the same pages has a page table of its own, a **mirror** of the first. The two must agree while any thread
may change the first. So a thread that changes it calls all notifiers: a **start**, then the change, then an **end**.
Between start and end the device must not use those pages. \`hmm\` is a notifier, and calls the driver to clear them in
the device's table (the **call-back**, which takes the **driver lock**).

When the device needs a page that it does not have, it faults. The driver registers a **range** over the pages, reads
the CPU's page table, takes the driver lock, and rechecks that the range is still **valid**: no start has come since.
Only then it programs the device. All of these have lifetimes: a process exits, a driver is closed, and reference counts
say what may still be used. Nearly every bug below is one of two kinds: a use after free, or a wait that never ends.

## How to read the diagrams

Time goes down. Each thread has a column, and each line is one step of one thread. What a thread does between two steps
is not visible to other threads. Only steps on which the failure depends are shown; the others are counted. Left of the
columns, a line shows the lifetime of an object.

| a step | what it does |
| --- | --- |
| \`lock\`, \`unlock\`, \`tryLock\` | a lock with one holder (bar: ┏ ┃ ┗); \`tryLock\` never waits, and may find it busy |
| \`downRead\`, \`upRead\` | a lock with many holders, for reading (bar: ┌ │ └), such as \`mmapLock\` and \`mirrorsSem\` |
| \`queueWrite\`, \`downWrite\`, \`upWrite\` | the same lock for writing, with one holder; a queued writer lets no new reader pass |
| \`refGet\`, \`refPut\`, \`refGetNotZero\` | a reference count goes up, down, or up unless it is 0 already |
| \`srcuReadLock\`, \`srcuReadUnlock\` | a read section: what it finds stays allocated until its end (bar: ╭ ┊ ╰) |
| \`srcuStart\`, \`srcuWait\`, \`srcuCall\` | the end of such sections is waited for, or a call is deferred until then |
| \`enqueue\`, tests the condition, sleeps | a wait: queue, test, sleep; \`wakeAll\` wakes all that queue or sleep |
| \`read\`, \`write\`, \`update\` | a word that other threads use without the same lock |
| \`shootdownBump\` | from here on no CPU thread uses an old translation |

The headline says what was found. Below it is how many **preemptions** it needs (how often a thread is interrupted that
could go on), and how many steps; both are minimised. A bug without a preemption needs only one thread to run before the
other. A bug with two preemptions may never occur in a test. At the end is the nearest order of steps in which nothing
goes wrong, and the step at which the two differ.

The line that begins with \`hmm replay\` runs exactly the steps of the diagram again. \`hmm check NAME\` explores a
scenario anew, \`hmm check patches holes moving\` all of this page.
`;

/** @type {readonly { title: string, text: string, ids: readonly string[] }[]} */
const CHAPTERS = [
  {
    title: "Lifetimes",
    text: "Five patches are about one question: when a thread holds a pointer, what keeps the object?",
    ids: ["patches/01", "patches/03", "patches/02", "patches/04", "patches/07"],
  },
  {
    title: "What a caller may rely on",
    text: "A wait returns what ended it, lists and locks say how they may be used, and a driver's mistakes are reported.",
    ids: ["patches/05", "patches/06", "patches/08", "patches/09", "patches/10"],
  },
  {
    title: "Calls into drivers",
    text: "HMM calls drivers. The last two patches are about the locks that it holds meanwhile, and about a driver that refuses.",
    ids: ["patches/11", "patches/12"],
  },
  {
    title: "The holes that the series left",
    text: "All of these were in the code after the series. Some were found within weeks, some after years.",
    ids: [
      "holes/aba",
      "holes/two-notifiers",
      "holes/timeout",
      "holes/never-registered",
      "holes/last-user",
      "holes/driver-lock",
    ],
  },
  {
    title: "Two earlier bugs",
    text: "On-demand paging gave network cards what HMM gives all devices. It came first, and the series avoids its bugs.",
    ids: ["holes/parked", "holes/read-held"],
  },
  {
    title: "Memory that moves",
    text: "Pages move to a device and back, and huge pages as one. These bugs are of Linux's migration, pins, huge pages and exclusive access.",
    ids: [
      "moving/late-flush",
      "moving/no-reference",
      "moving/counted-references",
      "moving/pinned-fork",
      "moving/none-for-a-moment",
      "moving/waits-unreferenced",
    ],
  },
];

/** @param {number} count @param {string} what @returns {string} */
function counted(count, what) {
  return `${count.toLocaleString("en")} ${what}${count === 1 ? "" : what.endsWith("s") ? "es" : "s"}`;
}

/** @param {string} [summary] @returns {string} */
function sentence(summary = "") {
  return `${summary.slice(0, 1).toUpperCase()}${summary.slice(1).replace(/\.$/, "")}.`;
}

/**
 * Without line numbers, which every edit of a source file changes.
 *
 * @param {Recording} recording
 * @returns {Recording}
 */
function withoutLines(recording) {
  const { finding } = recording;
  if (finding === undefined) return recording;
  const sites = finding.sites.map((site) => {
    const { place, ...rest } = site;
    return place === undefined ? rest : { ...rest, place: place.replace(/:\d+$/, "") };
  });
  return { ...recording, finding: { ...finding, sites, stacks: [] } };
}

/** @param {Exploration} exploration @returns {string} */
function coverage({ complete, bound, classes }) {
  if (!complete) return `not complete: ${counted(classes, "class")}`;
  return bound === Infinity
    ? `complete: ${counted(classes, "class")}`
    : `complete to ${counted(bound, "preemption")}: ${counted(classes, "class")}`;
}

/** @typedef {Awaited<ReturnType<typeof loadChecker>>} Checker */

async function loadChecker() {
  /** @param {string} name */
  const load = (name) =>
    import(new URL(`../../.build/stepped/src/checker/${name}.js`, import.meta.url).href);
  const { explore } = await load("explore");
  const { minimise } = await load("replay/minimise");
  const { recordRun } = await load("replay/record-run");
  const { nearestPassing } = await load("replay/nearest");
  const { renderTimeline } = await load("report/timeline");
  return { explore, minimise, recordRun, nearestPassing, renderTimeline };
}

/**
 * @param {Checker} checker
 * @param {AnyScenario} scenario
 * @returns {string[]}
 */
function renderBroken({ explore, minimise, recordRun, nearestPassing, renderTimeline }, scenario) {
  const { name, summary, exploration, expects } = scenario;
  const first = explore(scenario, {
    ...exploration,
    stopAt: (/** @type {{ kind: string }} */ { kind }) => kind === expects,
  });
  const found = first.findings.find((/** @type {{ kind: string }} */ { kind }) => kind === expects);
  if (found === undefined) throw new Error(`${name}: expected ${expects}, and did not find it`);
  const { token } = minimise(scenario, found, exploration);
  const recording = recordRun(scenario, token, exploration);
  const passing = nearestPassing(scenario, recording, exploration);
  const options =
    passing === undefined ? { width: WIDTH } : { width: WIDTH, passing: withoutLines(passing) };
  const sofar = `execution ${first.executions.toLocaleString("en")}, class ${first.classes.toLocaleString("en")}`;
  const effort = [
    counted(recording.preemptions, "preemption"),
    counted(recording.steps.length, "step"),
  ].join(", ");
  return [
    `**\`${name}\`**: ${sentence(summary)}`,
    "",
    `> Found: **${expects}**, in ${sofar}. At its smallest: ${effort}.`,
    "",
    "```text",
    renderTimeline(withoutLines(recording), options).trimEnd(),
    "```",
    "",
  ];
}

/**
 * @param {Checker} checker
 * @param {AnyScenario} scenario
 * @returns {string}
 */
function renderSound({ explore }, scenario) {
  const exploration = explore(scenario, scenario.exploration);
  if (exploration.findings.length > 0)
    throw new Error(`${scenario.name}: ${exploration.findings[0].message}`);
  return `- \`${scenario.name}\`: ${sentence(scenario.summary)} **Nothing found, ${coverage(exploration)}.**`;
}

/**
 * @param {Checker} checker
 * @param {Exhibit} exhibit
 * @returns {string[]}
 */
function renderExhibit(checker, { id, title, was, wrong, now, notes, before, after }) {
  return [
    `### ${title}`,
    "",
    `*${heading(id)}*`,
    "",
    was.trim(),
    "",
    wrong.trim(),
    "",
    ...before.flatMap((scenario) => renderBroken(checker, scenario)),
    now.trim(),
    "",
    ...after.map((scenario) => renderSound(checker, scenario)),
    "",
    ...(notes === undefined ? [] : [notes.trim(), ""]),
  ];
}

/** @param {string} id @returns {string} */
function heading(id) {
  const [group = "", name = ""] = id.split("/");
  return group === "patches" ? `Patch ${Number(name)}` : id;
}

/**
 * @param {readonly Exhibit[]} exhibits
 * @returns {{ title: string, text: string, exhibits: Exhibit[] }[]}
 */
function chaptersOf(exhibits) {
  const byId = new Map(exhibits.map((exhibit) => [exhibit.id, exhibit]));
  const chapters = CHAPTERS.map(({ title, text, ids }) => {
    const own = ids.flatMap((id) => {
      const exhibit = byId.get(id);
      byId.delete(id);
      return exhibit === undefined ? [] : [exhibit];
    });
    return { title, text, exhibits: own };
  });
  if (byId.size > 0) throw new Error(`no chapter has ${Array.from(byId.keys()).join(", ")}`);
  return chapters.filter((chapter) => chapter.exhibits.length > 0);
}

/** @returns {Promise<string>} */
export async function renderExhibits() {
  const checker = await loadChecker();
  const { exhibits } = await import(
    new URL("../../.build/stepped/command/scenarios/exhibits.js", import.meta.url).href
  );
  const chapters = chaptersOf(exhibits);
  return [
    INTRODUCTION.trim(),
    "",
    "## Contents",
    "",
    ...chapters.flatMap((chapter) => [
      `- ${chapter.title}`,
      ...chapter.exhibits.map(({ title }) => `  - [${title}](#${anchorOf(title)})`),
    ]),
    "",
    ...chapters.flatMap((chapter) => [
      `## ${chapter.title}`,
      "",
      chapter.text,
      "",
      ...chapter.exhibits.flatMap((exhibit) => renderExhibit(checker, exhibit)),
    ]),
  ]
    .join("\n")
    .replace(/\n+$/, "\n");
}

/** As Markdown renderers make it from a heading. @param {string} title @returns {string} */
function anchorOf(title) {
  return title
    .toLowerCase()
    .replace(/[^a-z0-9 -]/g, "")
    .replace(/ /g, "-");
}
