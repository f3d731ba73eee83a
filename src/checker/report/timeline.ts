/**
 * @module A recording as text: a headline, a column for each task with time going down, held locks
 * and live objects beside them, and at the end the nearest schedule that passes. Equal recordings
 * give equal text, and it has colours only if a {@link Paint} adds them. So documents may contain
 * it, and tests may compare it.
 */

import type { RecordedFinding, Recording } from "../replay/recording.ts";
import { comparisonLines } from "./comparison.ts";
import { plainPaint } from "./paint.ts";
import type { Paint } from "./paint.ts";
import { cut, pad, wrap } from "./text-cells.ts";
import { timelineRows } from "./timeline-rows.ts";
import type { Bar, LifePart, TimelineRow, TimelineRows } from "./timeline-rows.ts";

/** How {@link renderTimeline} draws. */
export interface TimelineOptions {
  /** In characters. Default 80, at least 40. */
  readonly width?: number;
  /** Default: none. */
  readonly paint?: Paint;
  /** The nearest schedule that passes, to show beside the failing one. */
  readonly passing?: Recording;
}

const DEFAULT_WIDTH = 80;
const LEAST_WIDTH = 40;
const STACK_FRAMES = 4;
const FOLD_MARGIN = 2;
const GAP = " │ ";

const barGlyphs: Readonly<Record<Bar["mode"], Readonly<Record<Bar["part"], string>>>> = {
  exclusive: { none: " ", start: "┏", hold: "┃", end: "┗" },
  shared: { none: " ", start: "┌", hold: "│", end: "└" },
  srcu: { none: " ", start: "╭", hold: "┊", end: "╰" },
};
const lifeGlyphs: Readonly<Record<LifePart, string>> = {
  none: " ",
  alloc: "┬",
  alive: "│",
  free: "┴",
  gone: "·",
  bad: "✗",
};

/** The timeline of one recording; ends with a line break. */
export function renderTimeline(recording: Recording, options: TimelineOptions = {}): string {
  const width = Math.max(options.width ?? DEFAULT_WIDTH, LEAST_WIDTH);
  const paint = options.paint ?? plainPaint;
  const lines = [
    ...headline(recording, width, paint),
    "",
    ...new Columns(recording, width, paint).lines(),
    ...footer(recording, width, paint),
  ];
  if (options.passing !== undefined)
    lines.push("", ...comparisonLines(recording, options.passing, { width, paint }));
  return `${lines.map((line) => line.trimEnd()).join("\n")}\n`;
}

function headline(recording: Recording, width: number, paint: Paint): string[] {
  const { finding, length, preemptions, command } = recording;
  const effort = `${counted(preemptions, "preemption")}, ${counted(length, "step")}`;
  const lines: string[] = [];
  if (finding === undefined)
    lines.push(paint.bold(paint.green("passes: nothing is wrong in this schedule")));
  else {
    const [first = "", ...more] = wrap(finding.message, width - finding.kind.length - 2);
    lines.push(`${paint.bold(paint.red(finding.kind))}: ${first}`);
    for (const line of more) lines.push(`  ${line}`);
    lines.push(...siteLines(finding, width, paint));
  }
  lines.push(paint.dim(finding === undefined ? `  ${effort}` : `  needs ${effort}`));
  lines.push(paint.dim(`  ${command}`));
  return lines;
}

function siteLines({ sites }: RecordedFinding, width: number, paint: Paint): string[] {
  const named = sites.map(({ task, operation, label }) => `${task}: ${operation} ${label}`);
  const longest = Math.max(0, ...named.map((name) => name.length));
  return sites.flatMap(({ place }, i) => {
    const name = named[i] ?? "";
    if (place === undefined) return [`  ${cut(name, width - 2)}`];
    if (longest + 4 + place.length <= width)
      return [`  ${pad(name, longest)}  ${paint.cyan(place)}`];
    return [`  ${cut(name, width - 2)}`, `    ${paint.cyan(place)}`];
  });
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

/** The cycle of a deadlock, the clocks of a race, the stacks of a lock order. */
function footer({ finding, tasks, steps, ends }: Recording, width: number, paint: Paint): string[] {
  if (finding === undefined) return [];
  const lines: string[] = [];
  const nameOf = (task: number | undefined): string => tasks[task ?? -1] ?? "";
  if (finding.cycle.length > 0) {
    const arrows = finding.cycle.map((task) => `${nameOf(task)} ─ ${ends[task]?.label ?? ""} → `);
    lines.push(
      "",
      ...wrap(`cycle: ${arrows.join("")}${nameOf(finding.cycle[0])}`, width).map((line) =>
        paint.red(line),
      ),
    );
  }
  if (finding.kind === "data-race") {
    const clocks = finding.sites.map(({ task, step }) => {
      const own = steps.findLast((other, i) => i < step && nameOf(other.task) === task);
      return `${task} [${(own?.clock ?? tasks.map(() => 0)).join(" ")}]`;
    });
    const text = `no path of happens-before joins the two accesses (clocks: ${clocks.join(", ")})`;
    lines.push("", ...wrap(text, width).map((line) => paint.red(line)));
  }
  for (const { title, frames } of finding.stacks) {
    lines.push(
      "",
      paint.dim(`${title}, at`),
      ...frames.slice(0, STACK_FRAMES).map((text) => cut(`  ${text}`, width)),
    );
  }
  return lines;
}

/** The columns of the tasks. */
class Columns {
  readonly #recording: Recording;
  readonly #rows: TimelineRows;
  readonly #paint: Paint;
  readonly #width: number;
  readonly #numberWidth: number;
  readonly #barWidths: readonly number[];
  readonly #textWidths: readonly number[];

  constructor(recording: Recording, width: number, paint: Paint) {
    this.#recording = recording;
    this.#rows = timelineRows(recording);
    this.#paint = paint;
    this.#width = width;
    this.#numberWidth = String(recording.steps.length).length + 1;
    const { rows, objects } = this.#rows;
    const shown = this.#rows.tasks;
    this.#barWidths = recording.tasks.map((_, task) => {
      const slots = rows[0]?.bars[task]?.length ?? 0;
      return slots === 0 ? 0 : slots + 1;
    });
    const lives = objects.length === 0 ? 0 : objects.length + 1;
    const bars = this.#barWidths.reduce((sum, bar) => sum + bar, 0);
    const left = width - this.#numberWidth - lives - shown.length * GAP.length - bars;
    this.#textWidths = this.#share(left);
  }

  lines(): string[] {
    const { rows, objects, tasks } = this.#rows;
    const names = this.#recording.tasks;
    const gutter = " ".repeat(this.#numberWidth + (objects.length === 0 ? 0 : objects.length + 1));
    const head = tasks.map((task) =>
      this.#paint.bold(pad(cut(names[task] ?? "", this.#room(task)), this.#room(task))),
    );
    const rule = tasks.map((task) => "─".repeat(this.#room(task)));
    return [
      [gutter, ...head].join(GAP),
      `${"─".repeat(gutter.length)}─┼─${rule.join("─┼─")}`,
      ...rows.flatMap((row) => this.#rowLines(row)),
      ...this.#legend(),
    ];
  }

  #room(task: number): number {
    return (this.#barWidths[task] ?? 0) + (this.#textWidths[task] ?? 0);
  }

  /** Each column gets what its longest text needs, or its share of the width. */
  #share(left: number): number[] {
    const { tasks } = this.#recording;
    const needs = tasks.map((name, task) => {
      const texts = this.#rows.rows
        .filter((row) => row.task === task)
        .map((row) => markOf(row).length + row.text.length);
      return Math.max(name.length, ...texts);
    });
    const widths = needs.map(() => 0);
    let rest = left;
    let open = [...this.#rows.tasks];
    while (open.length > 0) {
      const share = Math.max(Math.floor(rest / open.length), 1);
      const modest = open.filter((task) => (needs[task] ?? 0) <= share);
      for (const task of modest.length > 0 ? modest : open) {
        widths[task] = modest.length > 0 ? (needs[task] ?? 0) : share;
        rest -= widths[task] ?? 0;
      }
      if (modest.length === 0) break;
      open = open.filter((task) => !modest.includes(task));
    }
    return widths;
  }

  #rowLines(row: TimelineRow): string[] {
    const number = row.kind === "step" ? String(row.step + 1) : "";
    const lives = this.#livesOf(row);
    const gutter = `${this.#paint.dim(number.padStart(this.#numberWidth))}${lives}`;
    if (
      row.kind === "fold" &&
      row.text.length + FOLD_MARGIN > (this.#textWidths[this.#rows.tasks[0] ?? 0] ?? 0)
    ) {
      const room = this.#width - this.#numberWidth - lives.length - GAP.length - FOLD_MARGIN;
      const [first = "", ...more] = wrap(row.text, room);
      const mark = row.isBad ? "✗ " : "  ";
      return [
        `${gutter}${GAP}${this.#tone(row, `${mark}${first}`)}`,
        ...more.map((text) => `${gutter}${GAP}  ${text}`),
      ];
    }
    if (row.kind === "fold")
      return [[gutter, ...this.#cells(row, `${row.isBad ? "✗" : ""} ${row.text}`)].join(GAP)];
    const mark = markOf(row);
    const room = (this.#textWidths[row.task] ?? 0) - mark.length;
    return wrap(row.text, Math.max(room, 8)).map((text, i) => {
      const line = `${i === 0 ? mark : " ".repeat(mark.length)}${text}`;
      const continued: TimelineRow =
        i === 0
          ? row
          : {
              ...row,
              kind: "note",
              bars: row.bars.map(continueBars),
              lives: row.lives.map(continueLife),
            };
      const blank = `${" ".repeat(this.#numberWidth)}${this.#livesOf(continued)}`;
      return [i === 0 ? gutter : blank, ...this.#cells(continued, line)].join(GAP);
    });
  }

  /** The content of each column; the text of a fold is in the first. */
  #cells(row: TimelineRow, text: string): string[] {
    return this.#rows.tasks.map((task, column) => {
      const bars = (row.bars[task] ?? []).map((bar) => this.#bar(bar)).join("");
      const gap = (this.#barWidths[task] ?? 0) > 0 ? " " : "";
      const isHere = row.task === task || (row.kind === "fold" && column === 0);
      const room = this.#textWidths[task] ?? 0;
      const shown = isHere ? cut(text, Math.max(room, row.kind === "fold" ? text.length : 0)) : "";
      return `${bars}${gap}${this.#tone(row, pad(shown, room))}`;
    });
  }

  #tone(row: TimelineRow, text: string): string {
    if (row.isBad) return this.#paint.red(text);
    if (row.kind === "step") return text;
    return text.trim() === "" ? text : this.#paint.dim(text);
  }

  #bar({ part, mode }: Bar): string {
    const glyph = barGlyphs[mode][part];
    if (part === "none") return glyph;
    if (mode === "exclusive") return this.#paint.yellow(glyph);
    return mode === "shared" ? this.#paint.green(glyph) : this.#paint.cyan(glyph);
  }

  #livesOf(row: TimelineRow): string {
    if (row.lives.length === 0) return "";
    const glyphs = row.lives.map((part) => {
      if (part === "bad") return this.#paint.red(lifeGlyphs.bad);
      return part === "gone"
        ? this.#paint.dim(lifeGlyphs.gone)
        : this.#paint.magenta(lifeGlyphs[part]);
    });
    return ` ${glyphs.join("")}`;
  }

  /** The meaning of the marks beside the columns, and the tasks without a column. */
  #legend(): string[] {
    const { objects, tasks } = this.#rows;
    const lines: string[] = [];
    if (objects.length > 0) {
      const names = objects.map(({ name }) => name).join(", ");
      const used = objects.some(({ badSteps }) => badSteps.length > 0) ? ", ✗ used after that" : "";
      lines.push(`beside the steps: the life of ${names} (┬ allocated, ┴ freed${used})`);
    }
    const absent = this.#recording.tasks.filter((_, task) => !tasks.includes(task));
    if (absent.length > 0) lines.push(`not involved: ${absent.join(", ")}`);
    return lines.length === 0
      ? []
      : [
          "",
          ...lines.flatMap((line) => wrap(line, this.#width)).map((line) => this.#paint.dim(line)),
        ];
  }
}

function markOf(row: TimelineRow): string {
  if (row.isBad) return "✗ ";
  return row.kind === "note" ? "· " : "";
}

function continueBars(bars: readonly Bar[]): Bar[] {
  return bars.map((bar) => ({
    ...bar,
    part: bar.part === "end" ? "none" : bar.part === "start" ? "hold" : bar.part,
  }));
}

function continueLife(part: LifePart): LifePart {
  if (part === "alloc") return "alive";
  return part === "free" || part === "bad" ? "none" : part;
}
