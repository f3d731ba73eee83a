/**
 * @module A naive address space to compare the real one with: a map from page to what the page is, and no idea how anything is done. One number stands for
 * a page's contents: its first word.
 */

import type { MapsEntry } from "../../src/index.ts";
import { PAGE } from "./fixture.ts";

export type ModelProtection = MapsEntry["protection"];

/** Contents that several spaces share: by page of the source. */
type SharedSource = Map<number, number>;

interface ModelPage {
  protection: ModelProtection;
  /** Private contents. */
  value: number;
  readonly source: SharedSource | undefined;
  readonly offset: number;
}

/** What an operation should answer: a number, or the code of its error. */
export type Answer = number | string;

/** Nothing is placed below this page by itself. */
const FIRST_PAGE = 16;

export class ModelSpace {
  readonly #pages: Map<number, ModelPage>;

  constructor(pages: Map<number, ModelPage> = new Map()) {
    this.#pages = pages;
  }

  fork(): ModelSpace {
    return new ModelSpace(new Map(Array.from(this.#pages, ([page, entry]) => [page, { ...entry }])));
  }

  mmap(
    at: number | undefined,
    count: number,
    { protection, shared, replace }: { protection: ModelProtection; shared: boolean; replace: boolean },
  ): Answer {
    const start = at ?? this.#lowestHole(count);
    if (!replace && !this.#isFree(start, count)) return "EEXIST";
    const source = shared ? new Map<number, number>() : undefined;
    for (let i = 0; i < count; i++) this.#pages.set(start + i, { protection, value: 0, source, offset: i });
    return start * PAGE;
  }

  munmap(start: number, count: number): Answer {
    for (let page = start; page < start + count; page++) this.#pages.delete(page);
    return 0;
  }

  mprotect(start: number, count: number, protection: ModelProtection): Answer {
    if (!this.#isFull(start, count)) return "ENOMEM";
    for (let page = start; page < start + count; page++) this.#pages.get(page)!.protection = protection;
    return 0;
  }

  dontneed(start: number, count: number): Answer {
    for (let page = start; page < start + count; page++) {
      const entry = this.#pages.get(page);
      if (entry !== undefined) entry.value = 0;
    }
    return this.#isFull(start, count) ? 0 : "ENOMEM";
  }

  mremap(start: number, count: number, newCount: number, mayMove: boolean, to: number | undefined): Answer {
    if (to !== undefined && (!mayMove || (to < start + count && start < to + newCount))) return "EINVAL";
    const end = start + count;
    const mapping = this.maps().find((one) => one.start <= start * PAGE && end * PAGE <= one.end);
    if (mapping === undefined) return "EFAULT";
    if (newCount < count) this.munmap(start + newCount, count - newCount);
    const kept = Math.min(count, newCount);
    if (to !== undefined) {
      this.munmap(to, newCount);
      return this.#move(start, kept, newCount, to);
    }
    if (newCount <= count) return start * PAGE;
    if (mapping.end === end * PAGE && this.#isFree(end, newCount - count)) {
      this.#extend(start, count, newCount);
      return start * PAGE;
    }
    return mayMove ? this.#move(start, kept, newCount, this.#lowestHole(newCount)) : "ENOMEM";
  }

  load(page: number): Answer {
    const entry = this.#pages.get(page);
    if (entry === undefined || entry.protection === "none") return "EFAULT";
    return entry.source === undefined ? entry.value : (entry.source.get(entry.offset) ?? 0);
  }

  store(page: number, value: number): Answer {
    const entry = this.#pages.get(page);
    if (entry?.protection !== "read-write") return "EFAULT";
    if (entry.source === undefined) entry.value = value;
    else entry.source.set(entry.offset, value);
    return 0;
  }

  /** Every page that is mapped, in order. */
  pages(): number[] {
    return Array.from(this.#pages.keys()).toSorted((a, b) => a - b);
  }

  /** As `AddressSpace.maps`: what could be one mapping is one. */
  maps(): MapsEntry[] {
    const entries: MapsEntry[] = [];
    let before: ModelPage | undefined;
    for (const page of this.pages()) {
      const { protection, source, offset } = this.#pages.get(page)!;
      const last = entries.at(-1);
      const goesOn = before?.protection === protection && before.source === source;
      const isNext = source === undefined || before?.offset === offset - 1;
      if (last !== undefined && last.end === page * PAGE && goesOn && isNext) {
        entries[entries.length - 1] = { ...last, end: last.end + PAGE };
      } else {
        entries.push({
          start: page * PAGE,
          end: (page + 1) * PAGE,
          protection,
          shared: source !== undefined,
          source: "anonymous",
        });
      }
      before = this.#pages.get(page);
    }
    return entries;
  }

  #move(start: number, kept: number, newCount: number, to: number): number {
    const moved = Array.from({ length: kept }, (_, i) => this.#pages.get(start + i)!);
    this.munmap(start, kept);
    for (const [i, entry] of moved.entries()) this.#pages.set(to + i, entry);
    this.#extend(to, kept, newCount);
    return to * PAGE;
  }

  #extend(start: number, count: number, newCount: number): void {
    const first = this.#pages.get(start)!;
    for (let i = count; i < newCount; i++) {
      this.#pages.set(start + i, { ...first, value: 0, offset: first.offset + i });
    }
  }

  #isFree(start: number, count: number): boolean {
    for (let page = start; page < start + count; page++) if (this.#pages.has(page)) return false;
    return true;
  }

  #isFull(start: number, count: number): boolean {
    for (let page = start; page < start + count; page++) if (!this.#pages.has(page)) return false;
    return true;
  }

  #lowestHole(count: number): number {
    let start = FIRST_PAGE;
    for (const page of this.pages()) {
      if (page >= start + count) break;
      start = Math.max(start, page + 1);
    }
    return start;
  }
}
