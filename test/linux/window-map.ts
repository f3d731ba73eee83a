/**
 * @module The window of an address space as trace.c shows it: a letter for each page, and "|"
 * before the first page of each mapping. Our mappings in the same form, and when the two say the
 * same.
 */

import type { MapsEntry } from "../../src/index.ts";

export const PAGE_BYTES = 4096;

function letterOf({ protection, shared }: MapsEntry): string {
  const letter = protection === "none" ? "n" : protection === "read" ? "r" : "w";
  return shared ? letter.toUpperCase() : letter;
}

export class WindowMap {
  /** By page. */
  readonly letters: string;
  /** First pages of mappings. */
  readonly starts: ReadonlySet<number>;

  constructor(letters: string, starts: ReadonlySet<number>) {
    this.letters = letters;
    this.starts = starts;
  }

  static parse(text: string): WindowMap {
    const starts = new Set<number>();
    let letters = "";
    for (const letter of text) {
      if (letter === "|") starts.add(letters.length);
      else letters += letter;
    }
    return new WindowMap(letters, starts);
  }

  /** The part of `maps` that lies in the window, which none of them leaves. */
  static of(maps: readonly MapsEntry[], base: number, pages: number): WindowMap {
    const letters = Array.from({ length: pages }, () => ".");
    const starts = new Set<number>();
    for (const entry of maps) {
      const first = (entry.start - base) / PAGE_BYTES;
      const end = (entry.end - base) / PAGE_BYTES;
      if (first < 0 || first >= pages) continue;
      starts.add(first);
      letters.fill(letterOf(entry), first, end);
    }
    return new WindowMap(letters.join(""), starts);
  }

  toString(): string {
    return Array.from(this.letters, (letter, page) =>
      this.starts.has(page) ? `|${letter}` : letter,
    ).join("");
  }

  /** Where in [startPage, endPage) the first hole is; `endPage` when there is none. */
  firstHole(startPage: number, endPage: number): number {
    for (let page = startPage; page < endPage; page++)
      if ((this.letters[page] ?? ".") === ".") return page;
    return endPage;
  }

  /** The runs of pages in [startPage, endPage) that `other` shows otherwise. */
  runsOtherIn(
    other: WindowMap,
    startPage: number,
    endPage: number,
  ): [startPage: number, endPage: number][] {
    const runs: [number, number][] = [];
    for (let page = Math.max(startPage, 0); page < Math.min(endPage, this.letters.length); page++) {
      if (this.letters[page] === other.letters[page]) continue;
      const last = runs.at(-1);
      if (last?.[1] === page) last[1] = page + 1;
      else runs.push([page, page + 1]);
    }
    return runs;
  }

  /** The parts of mappings that lie in [startPage, endPage). */
  mappingsIn(startPage: number, endPage: number): [startPage: number, endPage: number][] {
    const parts: [number, number][] = [];
    for (let page = startPage; page < endPage; page++) {
      const last = parts.at(-1);
      if ((this.letters[page] ?? ".") === ".") continue;
      if (last === undefined || last[1] !== page || this.starts.has(page))
        parts.push([page, page + 1]);
      else last[1] = page + 1;
    }
    return parts;
  }

  /** True when a mapping starts inside (startPage, endPage). */
  hasBorder(startPage: number, endPage: number): boolean {
    for (let page = startPage + 1; page < endPage; page++) if (this.starts.has(page)) return true;
    return false;
  }

  /**
   * What is wrong with `ours`, if this is the kernel's; undefined when they agree. Kind O: where
   * both have the same private pages, the kernel may keep mappings apart that are one of ours.
   * Never the other way round, and shared ones only at `splits`.
   */
  differenceTo(ours: WindowMap, splits: ReadonlySet<number>): string | undefined {
    if (ours.letters !== this.letters) return "other pages";
    for (let page = 0; page < this.letters.length; page++) {
      const isOurs = ours.starts.has(page);
      if (isOurs === this.starts.has(page)) continue;
      if (isOurs) return `page ${page} begins a mapping of ours, and none of the kernel's`;
      if (!this.#mayBeApart(page, splits))
        return `page ${page} begins a mapping of the kernel's, and none of ours`;
    }
    return undefined;
  }

  #mayBeApart(page: number, splits: ReadonlySet<number>): boolean {
    const letter = this.letters[page] ?? ".";
    return this.letters[page - 1] === letter && ("nrw".includes(letter) || splits.has(page));
  }
}
