/**
 * @module The page docs/BENCHMARKS.md: the questions of questions.ts with their figures. It is made
 * of what bench/results.json keeps, so that its words can be mended without measuring anew.
 */

import { worstReading } from "./figure.ts";
import { figures } from "./figures.ts";
import type { Answer, Question } from "./questions.ts";
import { questions } from "./questions.ts";
import {
  type Result,
  describeBound,
  formatRange,
  formatRatio,
  formatValue,
  verdictOf,
} from "./report.ts";
import { median } from "./figure.ts";
import type { KeptResults } from "./results.ts";

/** The page. */
export function renderPage({ machine, results }: KeptResults): string {
  const byName = new Map(results.map((result) => [result.figure.name, result]));
  return [
    "# Benchmarks",
    "",
    "Written by `npm run bench`. Every figure is a ratio between something of this project and the plain thing that it is compared",
    "with, taken in pairs in one run on one machine: the median of the pairs, and the range. Each figure runs in a process of its own;",
    "where it has several readings, the worst of those that the bound asks for decides. A bound of 1.00x counts as kept up to 1.05x.",
    "A bound is what was wanted, before anybody knew what could be had.",
    "",
    `Taken on: ${machine}.`,
    "",
    ...renderVerdicts(results),
    ...questions.map(({ asked }) => `- [${asked}](#${anchorOf(asked)})`),
    "",
    "![What one load costs over the size of the working set](load.svg)",
    "",
    ...questions.flatMap((question) => renderQuestion(question, byName)),
  ].join("\n");
}

/** As hosts of Markdown make them of headings. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^a-z0-9 -]/g, "")
    .replaceAll(" ", "-");
}

function linkTo({ figure }: Result): string {
  return `[${figure.name}](#${figure.name})`;
}

function renderVerdicts(results: readonly Result[]): string[] {
  const missed = results.filter((result) => verdictOf(result) === "MISSED");
  const kept = results.filter((result) => verdictOf(result) === "kept");
  const first = `${kept.length} of ${figures.length} bounds are kept.`;
  return [missed.length === 0 ? first : `${first} Missed: ${missed.map(linkTo).join(", ")}.`, ""];
}

function renderQuestion(
  { asked, short, answers }: Question,
  byName: ReadonlyMap<string, Result>,
): string[] {
  const found = answers.flatMap((answer) => {
    const result = byName.get(answer.name);
    return result === undefined ? [] : [{ answer, result }];
  });
  return [
    `## ${asked}`,
    "",
    short,
    "",
    "| figure | bound | measured | |",
    "| --- | --- | --- | --- |",
    ...found.map(({ result }) => renderSummary(result)),
    "",
    ...found.flatMap(({ answer, result }) => renderDetails(answer, result)),
  ];
}

function renderSummary(result: Result): string {
  const { figure, measurement } = result;
  const worst =
    measurement.readings === undefined
      ? undefined
      : worstReading(measurement.readings, figure.bound);
  const measured =
    worst === undefined
      ? "not measured"
      : `**${formatRatio(median(worst.ratios))}** (${formatRange(worst)})`;
  return `| ${linkTo(result)}: ${figure.title} | ${describeBound(figure)} | ${measured} | ${verdictOf(result)} |`;
}

function renderDetails({ means }: Answer, { figure, measurement }: Result): string[] {
  const head = [`### ${figure.name}`, "", means, "", `How it is taken: ${figure.method}`, ""];
  if (measurement.readings === undefined)
    return [...head, `Not measured: ${measurement.notMeasured}`, ""];
  const rows = measurement.readings.map((reading) => {
    const label = reading.isBound ? reading.label : `${reading.label} (for orientation)`;
    return `| ${label} | ${formatRatio(median(reading.ratios))} | ${formatRange(reading)} | ${formatValue(reading.ours)} | ${formatValue(reading.plain)} | ${reading.unit} |`;
  });
  const lessons = figure.lessons === undefined ? [] : [`What was learned: ${figure.lessons}`, ""];
  return [
    ...head,
    "| reading | median | range | ours | plain | unit |",
    "| --- | --- | --- | --- | --- | --- |",
    ...rows,
    "",
    ...lessons,
  ];
}
