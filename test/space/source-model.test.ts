/**
 * @module Random operations on mappings of one source, in a space and its forks, against a model
 * that knows only words: what the source's pages hold for all, what each private mapping has of its
 * own, and what the backing store has after a write-back.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { type AddressSpace, HmmError, SegmentationFault, type View } from "../../src/index.ts";
import { FAR, MIB, PAGE, makeSpace } from "./fixture.ts";
import { MemorySource } from "./memory-source.ts";

const seed = Number(process.env["HMM_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const runs = Number(process.env["HMM_TEST_RUNS"] ?? 12);
const PAGES = 12;
const SHARED = FAR;
const PRIVATE = FAR + 2 ** 30;

/** Numbers below a bound, from a seed. */
function makeRandom(from: number): (below: number) => number {
  let state = from >>> 0 || 1;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** One space: its private pages by number, where they differ from the source's. */
interface Side {
  readonly space: AddressSpace;
  readonly own: Map<number, number>;
}

/**
 * Undefined: the frames are not in a row, and other mappings have some, so they cannot be moved.
 */
function viewUnlessBusy(
  space: AddressSpace,
  address: number,
  lengthBytes: number,
): View | undefined {
  try {
    return space.viewSync(address, lengthBytes, "write");
  } catch (error) {
    if (error instanceof HmmError && error.code === "EBUSY") return undefined;
    throw error;
  }
}

const ADVICE = [
  "normal",
  "sequential",
  "random",
  "willneed",
  "cold",
  "pageout",
  "populate",
  "populate-read",
] as const;

class Run {
  readonly random: (below: number) => number;
  readonly source = new MemorySource(PAGES * PAGE);
  readonly sides: Side[] = [];
  /** The first word of each page, as all who map it see it. */
  words: number[];
  /** Pages that may differ from the backing store. */
  dirty = new Set<number>();
  log: string[] = [];

  constructor(from: number) {
    this.random = makeRandom(from);
    this.words = Array.from({ length: PAGES }, (_, page) => this.source.wordAt(page * PAGE));
    const space = makeSpace({ ramBytes: 8 * MIB });
    const lengthBytes = PAGES * PAGE;
    const place = { fixed: "noreplace", source: this.source } as const;
    space.mmapSync(lengthBytes, { ...place, address: SHARED, shared: true });
    space.mmapSync(lengthBytes, { ...place, address: PRIVATE });
    this.sides.push({ space, own: new Map() });
  }

  get side(): Side {
    return this.sides[this.random(this.sides.length)]!;
  }

  step(): void {
    const page = this.random(PAGES);
    const pages = 1 + this.random(PAGES - page);
    const { space, own } = this.side;
    const value = this.random(2 ** 32);
    const kind = this.random(13);
    this.log.push(`${kind} page ${page} pages ${pages} value ${value}`);
    if (kind < 3) this.loadBoth(page);
    else if (kind < 5) this.storeShared(space, page, value);
    else if (kind < 7) this.storePrivate(space, own, page, value);
    else if (kind === 7) this.sync(space, page, pages);
    else if (kind === 8) this.discard(space, own, page, pages);
    else if (kind === 9) this.view(space, page, pages, value);
    else if (kind === 10) this.forkOrLeave();
    else if (kind === 11) this.resize(space);
    else this.advise(space, page, pages);
  }

  /** Changes nothing that can be seen, but that a write-back may have been made. */
  advise(space: AddressSpace, page: number, pages: number): void {
    const advice = ADVICE[this.random(ADVICE.length)]!;
    for (const base of [SHARED, PRIVATE]) {
      // That would make copies of the private mapping's own.
      if (advice === "populate" && base === PRIVATE) continue;
      try {
        space.madviseSync(base + page * PAGE, pages * PAGE, advice);
      } catch (error) {
        const isPastEnd = page + pages > this.words.length && advice.startsWith("populate");
        if (!isPastEnd || !(error instanceof HmmError) || error.code !== "EFAULT") throw error;
      }
    }
  }

  loadBoth(page: number): void {
    for (const { space, own } of this.sides) {
      const shared = this.words[page];
      this.expect(space, SHARED + page * PAGE, shared);
      this.expect(space, PRIVATE + page * PAGE, own.get(page) ?? shared);
    }
  }

  /** Undefined: past the end. */
  expect(space: AddressSpace, address: number, word: number | undefined): void {
    let seen: number | undefined;
    try {
      seen = space.u32.load(address);
    } catch (error) {
      if (!(error instanceof SegmentationFault) || error.signal !== "SIGBUS") throw error;
    }
    assert.equal(seen, word);
  }

  storeShared(space: AddressSpace, page: number, value: number): void {
    if (page >= this.words.length) return this.loadBoth(page);
    space.u32.store(SHARED + page * PAGE, value);
    this.words[page] = value;
    this.dirty.add(page);
  }

  storePrivate(space: AddressSpace, own: Map<number, number>, page: number, value: number): void {
    if (page >= this.words.length) return this.loadBoth(page);
    space.u32.store(PRIVATE + page * PAGE, value);
    own.set(page, value);
  }

  sync(space: AddressSpace, page: number, pages: number): void {
    space.msyncSync(SHARED + page * PAGE, pages * PAGE);
    for (let at = page; at < Math.min(page + pages, this.words.length); at++) {
      assert.equal(this.source.stored(at * PAGE), this.words[at], `page ${at} was not written`);
      this.dirty.delete(at);
    }
  }

  discard(space: AddressSpace, own: Map<number, number>, page: number, pages: number): void {
    space.madviseSync(PRIVATE + page * PAGE, pages * PAGE, "dontneed");
    space.madviseSync(SHARED + page * PAGE, pages * PAGE, "dontneed");
    for (let at = page; at < page + pages; at++) own.delete(at);
  }

  view(space: AddressSpace, page: number, pages: number, value: number): void {
    if (page + pages > this.words.length) return;
    using view = viewUnlessBusy(space, SHARED + page * PAGE, pages * PAGE);
    if (view === undefined) return;
    const words = view.as(Uint32Array);
    for (let i = 0; i < pages; i++) {
      assert.equal(words[(i * PAGE) / 4], this.words[page + i]);
      words[(i * PAGE) / 4] = value;
      this.words[page + i] = value;
      this.dirty.add(page + i);
    }
  }

  forkOrLeave(): void {
    if (this.sides.length < 3) {
      const { space, own } = this.side;
      this.sides.push({ space: space.forkSync(), own: new Map(own) });
    } else {
      const [gone] = this.sides.splice(1 + this.random(2), 1);
      gone?.space.disposeSync();
    }
  }

  /** Others change the size, and a write-back notices. */
  resize(space: AddressSpace): void {
    const pages = 1 + this.random(PAGES);
    this.sync(space, 0, PAGES);
    this.source.resize(pages * PAGE);
    space.msyncSync(SHARED, PAGE);
    while (this.words.length > pages) this.words.pop();
    for (let at = this.words.length; at < pages; at++)
      this.words.push(this.source.wordAt(at * PAGE));
    for (const { own } of this.sides)
      for (const at of Array.from(own.keys())) if (at >= pages) own.delete(at);
  }

  /** The end of all spaces writes what is dirty. */
  end(): void {
    for (const { space } of this.sides) space.disposeSync();
    for (const [page, word] of this.words.entries())
      assert.equal(this.source.stored(page * PAGE), word, `page ${page} was lost`);
  }
}

test("random operations on a source, against a model of words", () => {
  for (let run = 0; run < runs; run++) {
    const one = new Run(seed + run);
    try {
      for (let step = 0; step < 250; step++) one.step();
      one.end();
    } catch (error) {
      const again = `HMM_TEST_SEED=${seed + run} HMM_TEST_RUNS=1`;
      throw new Error(`${String(error)}: ${again}, after:\n${one.log.slice(-12).join("\n")}`, {
        cause: error,
      });
    }
  }
});
