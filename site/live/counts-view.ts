/**
 * @module What has happened, in numbers: a table of the last step and of all, and a log with a line
 * for each step. Screen readers are told the new line.
 */

import { element } from "./elements.ts";
import { type Count, type Reading, countAll } from "./reading.ts";

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

  /** A step was run: `code`. */
  add(code: string, reading: Reading): void {
    const counts = countAll(reading);
    const parts: string[] = [];
    for (const [index, count] of counts.entries()) {
      const by = count.value - (this.#before[index]?.value ?? 0);
      this.#draw(count, by);
      if (by > 0) parts.push(`${count.name} ${by}${count.unit}`);
    }
    this.#before = counts;
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

function firstLine(code: string): string {
  return code.split("\n", 1)[0] ?? "";
}
