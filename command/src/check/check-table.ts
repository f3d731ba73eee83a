/** @module The table of `hmm check`: a row for each scenario, and a summary. */

import type { FindingKind } from "../../../src/checker/findings/finding.ts";
import { formatCount, formatSeconds, formatThings } from "../quantities.ts";
import type { Colors } from "../terminal.ts";
import { breakLines } from "../text-table.ts";
import { isAsExpected } from "./check-row.ts";
import type { JudgedRow } from "./check-row.ts";

const CLASSES_WIDTH = 10;
const TIME_WIDTH = 8;
/** What coverage needs at least. */
const COVERAGE_WIDTH = 8;

interface Expecting {
  readonly name: string;
  readonly expects?: FindingKind | undefined;
}

/** It has the widths of the columns, so that rows can be printed one by one. */
export class CheckTable {
  readonly #colors: Colors;
  readonly #nameWidth: number;
  readonly #verdictWidth: number;
  readonly #columns: number;
  readonly #isNarrow: boolean;

  /** `columns`: of the terminal. In a narrow one each row has two lines. */
  constructor(scenarios: readonly Expecting[], colors: Colors, columns: number = Infinity) {
    this.#colors = colors;
    this.#nameWidth = Math.max("scenario".length, ...scenarios.map(({ name }) => name.length));
    this.#verdictWidth = Math.max(
      "verdict".length,
      ...scenarios.map(({ expects = "ok" }) => expects.length + 2),
    );
    const widths = [this.#nameWidth, this.#verdictWidth, CLASSES_WIDTH, TIME_WIDTH, COVERAGE_WIDTH];
    this.#columns = columns;
    this.#isNarrow = widths.reduce((sum, width) => sum + width + 2, -2) > columns;
  }

  head(): string {
    if (this.#isNarrow) return "";
    const cells = [
      "scenario".padEnd(this.#nameWidth),
      "verdict".padEnd(this.#verdictWidth),
      "classes".padStart(CLASSES_WIDTH),
      "time".padStart(TIME_WIDTH),
      "coverage",
    ];
    return `${this.#colors.bold(cells.join("  "))}\n`;
  }

  row(judged: JudgedRow): string {
    const { row, coverage } = judged;
    const paint = isAsExpected(judged) ? this.#colors.green : this.#colors.red;
    if (this.#isNarrow) {
      const text = `${verdictText(judged)}, ${formatThings(row.classes, "class", "classes")}, ${formatSeconds(row.seconds)}, ${coverage}`;
      const [first = "", ...rest] = breakLines(text, this.#columns - 2);
      const name = breakLines(row.scenario, this.#columns).join("\n");
      return `${name}\n${[paint(first), ...rest].map((line) => `  ${line}\n`).join("")}`;
    }
    const cells = [
      row.scenario.padEnd(this.#nameWidth),
      paint(verdictText(judged).padEnd(this.#verdictWidth)),
      formatCount(row.classes).padStart(CLASSES_WIDTH),
      formatSeconds(row.seconds).padStart(TIME_WIDTH),
      coverage,
    ];
    return `${cells.join("  ")}\n`;
  }
}

/** A tick or a cross, and the kind of the finding. */
function verdictText(judged: JudgedRow): string {
  const { row, expects } = judged;
  const found = Array.from(new Set(row.findings.map(({ kind }) => kind)));
  if (isAsExpected(judged)) return `✓ ${expects ?? "ok"}`;
  const missing = expects === undefined ? [] : [`no ${expects}`];
  return `✗ ${[...missing, ...found].join(", ")}`;
}

/** The last line: the numbers of scenarios by result. */
export function summaryText(rows: readonly JudgedRow[], seconds: number, colors: Colors): string {
  const surprises = rows.filter((judged) => !isAsExpected(judged));
  const sound = rows.filter(
    (judged) => judged.expects === undefined && isAsExpected(judged),
  ).length;
  const caught = rows.length - surprises.length - sound;
  const parts = [
    `${formatThings(rows.length, "scenario")} in ${formatSeconds(seconds)}`,
    ...(sound > 0 ? [`${formatCount(sound)} sound, nothing found`] : []),
    ...(caught > 0 ? [`${formatCount(caught)} broken, caught as expected`] : []),
    surprises.length === 0
      ? colors.green("no surprise")
      : colors.red(formatThings(surprises.length, "surprise")),
  ];
  return `${parts.join("; ")}\n`;
}
