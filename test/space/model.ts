/**
 * @module A naive address space to compare the real one with: a map from pages to their state. One
 * number is the data of a page: its first word.
 */

import type { MapsEntry } from "../../src/index.ts";
import { PAGE } from "./fixture.ts";

export type ModelProtection = MapsEntry["protection"];

/**
 * Contents that several spaces share: by page of the source, which keeps the size that it was made
 * with.
 */
interface SharedSource {
  readonly pages: number;
  readonly values: Map<number, number>;
}

interface ModelPage {
  protection: ModelProtection;
  /** Private contents. */
  value: number;
  readonly source: SharedSource | undefined;
  readonly offset: number;
}

/** The expected result: a number, the code of an error, or the signal of an access. */
export type Answer = number | string;

export interface ModelMremapOptions {
  readonly mayMove: boolean;
  readonly to: number | undefined;
  readonly keepOld: boolean;
}

/** A mapping without an address is not placed below this page. */
const FIRST_PAGE = 16;

export class ModelSpace {
  readonly #pages: Map<number, ModelPage>;

  constructor(pages: Map<number, ModelPage> = new Map()) {
    this.#pages = pages;
  }

  fork(): ModelSpace {
    return new ModelSpace(
      new Map(Array.from(this.#pages, ([page, entry]) => [page, { ...entry }])),
    );
  }

  mmap(
    at: number | undefined,
    count: number,
    {
      protection,
      shared,
      replace,
    }: { protection: ModelProtection; shared: boolean; replace: boolean },
  ): Answer {
    const start = at ?? this.#lowestHole(count);
    if (!replace && !this.#isFree(start, count)) return "EEXIST";
    const source = shared ? { pages: count, values: new Map<number, number>() } : undefined;
    for (let i = 0; i < count; i++)
      this.#pages.set(start + i, { protection, value: 0, source, offset: i });
    return start * PAGE;
  }

  munmap(start: number, count: number): Answer {
    for (let page = start; page < start + count; page++) this.#pages.delete(page);
    return 0;
  }

  mprotect(start: number, count: number, protection: ModelProtection): Answer {
    if (!this.#isFull(start, count)) return "ENOMEM";
    for (let page = start; page < start + count; page++)
      this.#pages.get(page)!.protection = protection;
    return 0;
  }

  dontneed(start: number, count: number): Answer {
    for (let page = start; page < start + count; page++) {
      const entry = this.#pages.get(page);
      if (entry !== undefined) entry.value = 0;
    }
    return this.#isFull(start, count) ? 0 : "ENOMEM";
  }

  mremap(start: number, count: number, newCount: number, options: ModelMremapOptions): Answer {
    const { mayMove, to, keepOld } = options;
    if (to !== undefined && (!mayMove || (to < start + count && start < to + newCount)))
      return "EINVAL";
    if (keepOld && (!mayMove || count !== newCount)) return "EINVAL";
    const first = this.#pages.get(start);
    if (first === undefined) return "EFAULT";
    if (count === 0 && first.source === undefined) return "EINVAL";
    const mapping = this.maps().findLast((one) => one.start <= start * PAGE);
    const room = (mapping?.end ?? 0) / PAGE - start;
    const kept = Math.min(count, newCount);
    const isAnyRange = count >= newCount && to === undefined && !keepOld;
    const isMovedOnly = to !== undefined && count === newCount;
    if (!isAnyRange && !isMovedOnly && room < kept) return "EFAULT";
    if (count === 0 && to === start) return "EFAULT";
    if (newCount < count) this.munmap(start + newCount, count - newCount);
    if (isAnyRange) return start * PAGE;
    const isGrown = to === undefined && !keepOld;
    if (isGrown && count > 0 && room === count && this.#isFree(start + count, newCount - count)) {
      this.#extend(start, first, count, newCount);
      return start * PAGE;
    }
    if (!mayMove) return "ENOMEM";
    const keeps = keepOld || count === 0;
    return this.#move(start, kept, newCount, to ?? this.#lowestHole(newCount), keeps);
  }

  load(page: number): Answer {
    const entry = this.#pages.get(page);
    if (entry === undefined || entry.protection === "none") return "SIGSEGV";
    if (entry.source === undefined) return entry.value;
    return entry.offset < entry.source.pages
      ? (entry.source.values.get(entry.offset) ?? 0)
      : "SIGBUS";
  }

  store(page: number, value: number): Answer {
    const entry = this.#pages.get(page);
    if (entry?.protection !== "read-write") return "SIGSEGV";
    if (entry.source === undefined) entry.value = value;
    else if (entry.offset < entry.source.pages) entry.source.values.set(entry.offset, value);
    else return "SIGBUS";
    return 0;
  }

  /** Every page that is mapped, in order. */
  pages(): number[] {
    return Array.from(this.#pages.keys()).toSorted((a, b) => a - b);
  }

  /** As `AddressSpace.maps`: mappings that can be merged are one. */
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

  /** Holes move too: what is there at the new place stays there. */
  #move(start: number, kept: number, newCount: number, to: number, keepsOld: boolean): number {
    const first = this.#pages.get(start)!;
    for (let i = 0; i < kept; i++) {
      const entry = this.#pages.get(start + i);
      if (entry === undefined) continue;
      this.#pages.set(to + i, { ...entry });
      if (keepsOld) entry.value = 0;
      else this.#pages.delete(start + i);
    }
    this.munmap(to + kept, newCount - kept);
    this.#extend(to, first, kept, newCount);
    return to * PAGE;
  }

  #extend(start: number, first: ModelPage, count: number, newCount: number): void {
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
