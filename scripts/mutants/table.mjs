/**
 * @module docs/MUTANTS.md: what was tried, by file, what noticed it, and what nothing noticed. It
 * makes text from data.
 */

import { NOT_RUN, hasNoticed, isNoticed } from "./judge.mjs";
import { kinds } from "./kinds.mjs";
import { handMadeOf } from "./hand-made.mjs";
import { LAYERS } from "./find.mjs";

/**
 * @typedef {import("./find.mjs").Mutant} Mutant
 * @typedef {import("./judge.mjs").Judgement} Judgement
 * @typedef {import("./results.mjs").Standing} Standing
 *
 * @typedef {object} Row
 * @property {Mutant} mutant
 * @property {Judgement | undefined} judgement
 * @property {Standing} standing
 */

/**
 * @param {number} part
 * @param {number} whole
 */
function percent(part, whole) {
  return whole === 0 ? "" : `${((100 * part) / whole).toFixed(1)} %`;
}

/** @param {string} text */
function code(text) {
  return text.includes("`") ? `\`\` ${text} \`\`` : `\`${text}\``;
}

/**
 * The numbers of some mutants. "equivalent": not noticed, and looked at.
 *
 * @param {readonly Row[]} rows
 * @param {Readonly<Record<string, string>>} reviewed
 */
export function countsOf(rows, reviewed) {
  const judged = rows.filter(({ judgement }) => judgement !== undefined);
  const byCheck = judged.filter(
    ({ judgement }) => judgement !== undefined && hasNoticed(judgement.check),
  );
  const byTests = judged.filter(
    ({ judgement }) =>
      judgement !== undefined && !hasNoticed(judgement.check) && hasNoticed(judgement.tests),
  );
  const left = judged.filter(
    ({ judgement }) =>
      judgement !== undefined && !hasNoticed(judgement.check) && !hasNoticed(judgement.tests),
  );
  const equivalent = left.filter(({ mutant }) => reviewed[mutant.key] !== undefined);
  const unreached = left.filter(({ judgement }) => judgement?.check.answer === "unreached");
  const timeOuts = byCheck.filter(({ judgement }) => judgement?.check.answer === "time-out");
  return {
    mutants: rows.length,
    judged: judged.length,
    stale: rows.filter(({ standing }) => standing === "changed" || standing === "doubtful").length,
    check: byCheck.length,
    timeOuts: timeOuts.length,
    tests: byTests.length,
    equivalent: equivalent.length,
    unreached: unreached.length,
    survivors: left.length - equivalent.length,
    begun: left.filter(isBegun).length,
    /** Of those that can be noticed at all. */
    noticeable: judged.length - equivalent.length,
  };
}

/** @typedef {ReturnType<typeof countsOf>} Counts */

/** What a whole run gives each mutant: the default of `--seconds`. */
export const FULL_SECONDS = 30;

/**
 * Nobody has noticed it so far, but not all that may notice it was asked for as long as a whole run
 * does.
 *
 * @param {Pick<Row, "judgement">} row
 */
function isBegun({ judgement }) {
  const { answer, tried, of, seconds } = judgement?.check ?? NOT_RUN;
  return answer === "silent" && tried < of && seconds < FULL_SECONDS;
}

const HEAD = `# Which checks notice a missing line

Written by \`npm run mutants -- --docs\`. Each mutant removes or weakens one synchronising statement
of \`src/\`, or exchanges it with its neighbour. The scenarios of \`hmm check\` that reach the statement
are explored. If none has an unexpected result, the tests that reach it are run. A mutant is
*noticed* by a scenario or a test that fails; a hang counts as a failure, by timeout.
[WORKING.md](WORKING.md#mutants) says how to run it.

The tool is our own. StrykerJS was tried first. It has a closed set of general mutators (operators,
literals, blocks, conditions), and no way to add "this lock and its release" or "these two steps in
the other order". It also runs the test runner of a project for every mutant. Here a checker must
run, scenario by scenario, the likeliest first, until the first surprise; and it must be ended if
it hangs.
`;

/**
 * @param {string} name
 * @param {Counts} counts
 */
function countRow(
  name,
  { mutants, judged, stale, check, tests, equivalent, survivors, noticeable },
) {
  const cells = [
    name,
    mutants,
    judged,
    stale,
    check,
    percent(check, noticeable),
    tests,
    percent(check + tests, noticeable),
    equivalent,
    survivors,
  ];
  return `| ${cells.join(" | ")} |`;
}

const COUNT_HEAD = [
  "| | mutants | tried | stale | noticed by `hmm check` | | by tests alone | by either | equivalent | survivors |",
  "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
];

/** @param {Row} row */
function survivorLine({ mutant, judgement }) {
  const { key, place, what } = mutant;
  const own = /^\S+/.exec(key)?.[0]?.split(".").slice(1).join(".") ?? "";
  const { answer, tried, of } = judgement?.check ?? NOT_RUN;
  const reach =
    answer === "unreached" ? "no scenario reaches it" : `silent in ${tried} of ${of} scenarios`;
  return `- ${place.replace(/:\d+$/, "")}, \`${own}\`, ${mutant.kind}: ${code(what)}: ${reach}`;
}

/** @param {Counts} all */
function sumLine({ mutants, judged, timeOuts, begun }) {
  const unknown = mutants - judged;
  return [
    `${timeOuts} of those noticed by \`hmm check\` were noticed by time-out.`,
    `${begun} of those that nobody noticed had less than ${FULL_SECONDS} s of processor time so far.`,
    ...(unknown === 0 ? [] : [`${unknown} have not been tried yet, or not since they changed.`]),
  ].join(" ");
}

/**
 * @param {readonly Row[]} rows All mutants.
 * @param {Readonly<Record<string, string>>} reviewed
 */
export function renderTable(rows, reviewed) {
  const all = countsOf(rows, reviewed);
  const modules = [...new Set(rows.map(({ mutant }) => mutant.module))];
  const layers = LAYERS.filter((layer) => modules.some((module) => module.startsWith(`${layer}/`)));
  /** @param {string} start */
  const under = (start) =>
    rows.filter(({ mutant }) => mutant.module === start || mutant.module.startsWith(`${start}/`));
  return [
    HEAD,
    "## By layer",
    "",
    "Percentages are of those that were tried and can be noticed: all but those listed below as",
    "equivalent. *Stale*: tried before its function, or what could notice it, was changed. One whose",
    "function has changed does not count as tried. One that nobody has noticed counts as a survivor,",
    "also if it is stale or was tried for a short time only.",
    "",
    ...COUNT_HEAD,
    ...layers.map((layer) => countRow(layer, countsOf(under(layer), reviewed))),
    countRow("**all**", all),
    "",
    sumLine(all),
    "",
    "## The kinds",
    "",
    ...kindLines(rows, reviewed),
    "",
    "## The sixteen lines that people broke by hand",
    "",
    ...handMadeLines(rows),
    "",
    "## By file",
    "",
    ...COUNT_HEAD,
    ...modules.map((module) => countRow(module, countsOf(under(module), reviewed))),
    "",
    "## Equivalent",
    "",
    "Nobody could notice these; the reasons are in `scripts/mutants/reviewed.json`.",
    "",
    ...equivalentLines(rows, reviewed),
    "",
    "## Survivors",
    "",
    ...rows.filter((row) => isSurvivor(row, reviewed)).map(survivorLine),
    "",
  ].join("\n");
}

/**
 * @param {Row} row
 * @param {Readonly<Record<string, string>>} reviewed
 */
export function isSurvivor({ mutant, judgement }, reviewed) {
  if (judgement === undefined || reviewed[mutant.key] !== undefined) return false;
  return !isNoticed(judgement);
}

/**
 * @param {readonly Row[]} rows
 * @param {Readonly<Record<string, string>>} reviewed
 */
function kindLines(rows, reviewed) {
  const head = [
    "| kind | what is done | why | tried | by `hmm check` | by either |",
    "| --- | --- | --- | ---: | ---: | ---: |",
  ];
  const lines = kinds.map(({ name, does, reason }) => {
    const { judged, check, tests, noticeable } = countsOf(
      rows.filter(({ mutant }) => mutant.kind === name),
      reviewed,
    );
    return `| ${name} | ${does} | ${reason} | ${judged} | ${percent(check, noticeable)} | ${percent(check + tests, noticeable)} |`;
  });
  return [...head, ...lines];
}

/** @param {readonly Row[]} rows */
function handMadeLines(rows) {
  const named = handMadeOf(rows.map(({ mutant }) => mutant));
  const lines = named.map(({ name, mutant, scenario }) => {
    const place = mutant.place.replace(/:\d+$/, "");
    return `| ${name} | ${place} | \`${scenario}\` |`;
  });
  return [
    "`npm test` tries each of them.",
    "",
    "| broken | in | noticed by |",
    "| --- | --- | --- |",
    ...lines,
  ];
}

/**
 * @param {readonly Row[]} rows
 * @param {Readonly<Record<string, string>>} reviewed
 */
function equivalentLines(rows, reviewed) {
  return rows.flatMap(({ mutant }) => {
    const reason = reviewed[mutant.key];
    if (reason === undefined) return [];
    return [`- ${mutant.module}, ${mutant.kind}: ${code(mutant.what)}. ${reason}`];
  });
}
