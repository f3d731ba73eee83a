/**
 * @module What has happened, in numbers: a table of the last step and of all, and a log with a line
 * for each step. Screen readers are told the new line.
 */

import { element } from "./elements.ts";
import { BASE, MAP_PAGES, PAGE } from "./layout.ts";
import { type Count, type Reading, countAll } from "./reading.ts";
import type { Invalidation } from "./watcher.ts";

/** Ranges that a line of the log names. */
const RANGES_SHOWN = 4;

interface Row {
  readonly last: HTMLElement;
  readonly all: HTMLElement;
}

export class CountsView {
  readonly table: HTMLTableElement;
  readonly log: HTMLElement = element("ol", { role: "log", "aria-live": "polite", tabindex: "0" });
  readonly #body: HTMLElement = element("tbody");
  readonly #rows: Map<string, Row> = new Map();
  #before: readonly Count[] = [];

  constructor() {
    const heads = ["", "last step", "in all"].map((text) => element("th", { scope: "col" }, text));
    const head = element("thead", {}, element("tr", {}, ...heads));
    const caption = element("caption", {}, "What happened");
    this.table = element("table", {}, caption, head, this.#body);
    this.log.setAttribute("aria-label", "What each step did");
  }

  /** Begins with a new machine. */
  clear(reading: Reading): void {
    this.log.replaceChildren();
    this.#before = countAll(reading);
    for (const count of this.#before) this.#draw(count, 0);
  }

  /** A step was run: `code`. `invalidations`: of the parent, in order. */
  add(code: string, reading: Reading, invalidations: readonly Invalidation[]): void {
    const counts = countAll(reading);
    const parts: string[] = [];
    for (const [index, count] of counts.entries()) {
      const by = count.value - (this.#before[index]?.value ?? 0);
      this.#draw(count, by);
      if (by > 0) parts.push(`${count.name} ${by}${count.unit}`);
    }
    this.#before = counts;
    if (invalidations.length > 0) parts.push(`invalidated: ${describeRanges(invalidations)}`);
    this.#write(code, parts.length === 0 ? "no fault, no invalidation" : parts.join("; "));
  }

  /** The program, or the machine, has failed. */
  fail(error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    this.#write("Failed", text);
  }

  #draw({ name, value, unit }: Count, by: number): void {
    let row = this.#rows.get(name);
    if (row === undefined) {
      row = { last: element("td"), all: element("td") };
      this.#rows.set(name, row);
      this.#body.append(
        element("tr", {}, element("th", { scope: "row" }, name), row.last, row.all),
      );
    }
    row.last.textContent = by > 0 ? `+${by}${unit}` : "";
    row.all.textContent = `${value}${unit}`;
  }

  #write(code: string, text: string): void {
    const line = element("li", {}, element("code", {}, firstLine(code)), ` ${text}`);
    this.log.append(line);
    this.log.scrollTop = this.log.scrollHeight;
  }
}

/** What is on the map. What is outside of it is left out; equal ranges are told once. */
function describeRanges(invalidations: readonly Invalidation[]): string {
  const first = BASE / PAGE;
  const times = new Map<string, number>();
  for (const { startPage, endPage, event } of invalidations) {
    const start = Math.max(0, startPage - first);
    const last = Math.min(MAP_PAGES, endPage - first) - 1;
    if (start > last) continue;
    const pages = start === last ? `page ${start}` : `pages ${start} to ${last}`;
    const text = `${pages} (${event})`;
    times.set(text, (times.get(text) ?? 0) + 1);
  }
  const parts = [...times].map(([text, count]) => (count === 1 ? text : `${text} ${count} times`));
  const shown = parts.slice(0, RANGES_SHOWN).join(", ");
  return parts.length > RANGES_SHOWN ? `${shown} and ${parts.length - RANGES_SHOWN} more` : shown;
}

function firstLine(code: string): string {
  return code.split("\n", 1)[0] ?? "";
}
