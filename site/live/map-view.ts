/**
 * @module The map of one address space: a grid of pages. Each page shows a letter, never a colour
 * alone. It is reached with Tab, walked with the arrow keys, and says in a line below what is known
 * of the page in focus or under the pointer.
 */

import { element } from "./elements.ts";
import { BASE, MAP_PAGES, PAGE } from "./layout.ts";
import { type MapPage, STATES, hex, summarize } from "./page-states.ts";

const COLUMNS = 8;

/** Keys, and how far they go. */
const MOVES: Readonly<Record<string, number>> = {
  ArrowLeft: -1,
  ArrowRight: 1,
  ArrowUp: -COLUMNS,
  ArrowDown: COLUMNS,
  Home: -MAP_PAGES,
  End: MAP_PAGES,
};

export class MapView {
  readonly root: HTMLElement;
  readonly #cells: readonly HTMLElement[];
  readonly #summary: HTMLElement = element("p", { class: "live-summary" });
  readonly #detail: HTMLElement = element("p", { class: "live-detail" });
  #pages: readonly MapPage[] = [];
  readonly #invalidated: Set<number> = new Set();
  /** What a device says of each page; empty for a space without one. */
  #snapshot: readonly string[] = [];
  #current = 0;

  constructor(title: string) {
    this.#cells = Array.from({ length: MAP_PAGES }, (_, index) => this.#makeCell(index));
    const rows = Array.from({ length: MAP_PAGES / COLUMNS }, (_, row) => {
      const first = row * COLUMNS;
      const head = element("span", { role: "rowheader", class: "live-row" }, `+${first}`);
      const cells = this.#cells.slice(first, first + COLUMNS);
      return element("div", { role: "row" }, head, ...cells);
    });
    const label = `${title}, pages from ${hex(BASE)} on`;
    const grid = element("div", { role: "grid", "aria-label": label, class: "live-grid" }, ...rows);
    grid.addEventListener("keydown", (event) => this.#move(event));
    this.root = element("section", { class: "live-map", "aria-label": title });
    this.root.append(element("h2", {}, title), grid, this.#summary, this.#detail);
    this.#describe(0);
  }

  /** Draws the pages; those that differ from the last drawing are marked. */
  draw(pages: readonly MapPage[], snapshot: readonly string[], mayMark: boolean): void {
    const before = this.#pages;
    this.#pages = pages;
    this.#snapshot = snapshot;
    for (const [index, page] of pages.entries()) {
      const cell = this.#cells[index];
      if (cell === undefined) continue;
      const { state, also } = page;
      const isChanged = mayMark && nameOf(before[index]) !== nameOf(page);
      cell.dataset["state"] = state;
      cell.classList.toggle("live-changed", isChanged);
      const news = `${isChanged ? ", new" : ""}${this.#invalidated.has(index) ? ", invalidated" : ""}`;
      cell.setAttribute("aria-label", `page ${index}: ${nameOf(page)}${news}`);
      cell.replaceChildren(STATES[state].letter);
      const marks = also.map((word) => MARKS[word] ?? "").join("");
      if (marks !== "") cell.append(element("small", {}, marks));
    }
    this.#summary.textContent = summarize(pages);
    this.#describe(this.#current);
  }

  /** A step begins: none of the pages has been invalidated by it. */
  beginStep(): void {
    this.#invalidated.clear();
    for (const cell of this.#cells) cell.classList.remove("live-invalidated");
  }

  /** The pages from `startPage` to before `endPage`, as page numbers, are being invalidated. */
  invalidate(startPage: number, endPage: number): void {
    const first = Math.max(0, startPage - BASE / PAGE);
    const end = Math.min(MAP_PAGES, endPage - BASE / PAGE);
    for (let index = first; index < end; index++) {
      this.#invalidated.add(index);
      this.#cells[index]?.classList.add("live-invalidated");
    }
  }

  #makeCell(index: number): HTMLElement {
    const tabindex = index === 0 ? "0" : "-1";
    const cell = element("span", { role: "gridcell", class: "live-page", tabindex });
    cell.addEventListener("focus", () => this.#select(index));
    cell.addEventListener("pointerenter", () => this.#describe(index));
    return cell;
  }

  #move(event: KeyboardEvent): void {
    const by = MOVES[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const isEnd = event.key === "Home" || event.key === "End";
    const to = this.#current + by;
    const next = isEnd ? Math.max(0, Math.min(MAP_PAGES - 1, to)) : to;
    this.#cells[next]?.focus();
  }

  #select(index: number): void {
    this.#cells[this.#current]?.setAttribute("tabindex", "-1");
    this.#current = index;
    this.#cells[index]?.setAttribute("tabindex", "0");
    this.#describe(index);
  }

  #describe(index: number): void {
    const seen = this.#snapshot[index];
    const device = seen === undefined ? "" : `; the device would find "${seen}"`;
    const page = this.#pages[index];
    const what = page === undefined ? "" : `: ${nameOf(page)}${device}`;
    this.#detail.textContent = `Page ${index}, ${hex(BASE + index * PAGE)}${what}.`;
  }
}

/** Small letters beside a state's own. */
const MARKS: Readonly<Record<string, string>> = { shared: "s", written: "w", "read-only": "r" };

/** What a screen reader says of a page; also what tells a page that has changed. */
function nameOf(page: MapPage | undefined): string {
  if (page === undefined) return "";
  return [STATES[page.state].meaning, ...page.also].join(", ");
}
