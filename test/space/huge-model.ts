/**
 * @module A naive model of address spaces for huge-model.test.ts: for each page a number, and
 * whether it is mapped, readable, writable. It knows nothing of frames and of huge pages.
 */

import assert from "node:assert/strict";
import { type AddressSpace, HmmError, SegmentationFault } from "../../src/index.ts";

const PAGE = 4096;
export const BLOCK = 512;
/** Six times 2 MiB, at a multiple of 2 MiB. */
const PAGES: number = 6 * BLOCK;
export const HUGE_BASE: number = 8 * BLOCK * PAGE;
const BASE = HUGE_BASE;
const SPACES_MAX = 3;

type Protection = "none" | "read" | "read-write";

const KINDS = [
  "store",
  "load",
  "fill",
  "map",
  "unmap",
  "protect",
  "move",
  "drop",
  "fork",
  "close",
  "view",
  "advise",
] as const;

export interface HugeStep {
  readonly kind: (typeof KINDS)[number];
  /** Which of the spaces. */
  readonly space: number;
  readonly page: number;
  readonly pages: number;
  readonly to: number;
  readonly value: number;
  readonly protection: Protection;
}

/** A step; most begin and end at multiples of 2 MiB, or near them. */
export function drawHugeStep(random: (below: number) => number): HugeStep {
  const edge = (): number => random(7) * BLOCK + (random(3) === 0 ? random(9) - 4 : 0);
  const within = (page: number): number => Math.min(Math.max(page, 0), PAGES - 1);
  const touches = ["store", "load", "fill"] as const;
  const kind = random(2) === 0 ? touches[random(3)]! : KINDS[random(KINDS.length)]!;
  const page = within(random(2) === 0 ? edge() : random(PAGES));
  const wanted = random(2) === 0 ? BLOCK * (1 + random(3)) : 1 + random(BLOCK);
  return {
    kind,
    space: random(SPACES_MAX),
    page,
    pages: Math.min(wanted, PAGES - page),
    to: within(random(3) === 0 ? random(PAGES) : edge()),
    value: 1 + random(1_000_000),
    protection: (["none", "read", "read-write", "read-write"] as const)[random(4)]!,
  };
}

interface PageModel {
  value: number;
  protection: Protection;
}

/** A space and what it should hold. */
interface Pair {
  readonly space: AddressSpace;
  readonly pages: (PageModel | undefined)[];
}

export class HugeModel {
  readonly #pairs: Pair[];

  constructor(space: AddressSpace) {
    this.#pairs = [{ space, pages: Array.from({ length: PAGES }) }];
    this.#call(this.#pairs[0]!, "map", 0, PAGES, "read-write");
  }

  /** The space that it began with. */
  get first(): AddressSpace {
    return this.#pairs[0]!.space;
  }

  /** Makes the call, and tells the model `told`. */
  apply(step: HugeStep, told: HugeStep = step): void {
    const pair = this.#pairs[step.space % this.#pairs.length]!;
    switch (step.kind) {
      case "store":
        this.#touch(pair, step.page, "read-write", told.value, (at) =>
          pair.space.u32.store(at, step.value),
        );
        break;
      case "load":
        this.#check(pair, step.page);
        break;
      case "fill":
        for (let page = step.page; page < step.page + step.pages; page += 37)
          this.#touch(pair, page, "read-write", told.value + page, (at) =>
            pair.space.u32.store(at, step.value + page),
          );
        break;
      case "fork":
        if (this.#pairs.length < SPACES_MAX)
          this.#pairs.push({
            space: pair.space.forkSync(),
            pages: pair.pages.map((page) => (page === undefined ? page : { ...page })),
          });
        break;
      case "close":
        if (this.#pairs.length > 1) this.#pairs.pop()?.space[Symbol.dispose]();
        break;
      case "view":
        this.#view(pair, step);
        break;
      case "move":
        this.#move(pair, step);
        break;
      case "advise":
        this.#advise(pair, step);
        break;
      default:
        this.#call(pair, step.kind, step.page, step.pages, step.protection);
    }
  }

  checkAll(): void {
    for (const pair of this.#pairs)
      for (let page = 0; page < PAGES; page++) this.#check(pair, page);
  }

  close(): void {
    for (const { space } of this.#pairs) space[Symbol.dispose]();
  }

  #call(
    { space, pages }: Pair,
    kind: "map" | "unmap" | "protect" | "drop",
    page: number,
    count: number,
    protection: Protection,
  ): void {
    const [at, length] = [BASE + page * PAGE, count * PAGE];
    const span = pages.slice(page, page + count);
    if (kind === "map") {
      space.mmapSync(length, { address: at, fixed: "replace", protection });
      for (let i = page; i < page + count; i++) pages[i] = { value: 0, protection };
    } else if (kind === "unmap") {
      space.munmapSync(at, length);
      pages.fill(undefined, page, page + count);
    } else if (kind === "protect") {
      if (span.includes(undefined)) return;
      space.mprotectSync(at, length, protection);
      for (const model of span) if (model !== undefined) model.protection = protection;
    } else {
      if (span.includes(undefined)) return;
      space.madviseSync(at, length, "dontneed");
      for (const model of span) if (model !== undefined) model.value = 0;
    }
  }

  /** Changes no contents, whatever the answer is. */
  #advise({ space }: Pair, { page, pages: count, value }: HugeStep): void {
    const advice = (["hugepage", "nohugepage", "collapse", "collapse"] as const)[value % 4]!;
    try {
      space.madviseSync(BASE + page * PAGE, count * PAGE, advice);
    } catch (error) {
      const expected = ["ENOMEM", "EINVAL", "EAGAIN"];
      if (!(error instanceof HmmError) || !expected.includes(error.code)) throw error;
    }
  }

  #move({ space, pages }: Pair, { page, pages: wanted, to }: HugeStep): void {
    const count = Math.min(wanted, PAGES - to);
    const span = pages.slice(page, page + count);
    const overlaps = to < page + count && page < to + count;
    if (overlaps || span.includes(undefined)) return;
    const [from, target] = [BASE + page * PAGE, BASE + to * PAGE];
    space.mremapSync(from, count * PAGE, count * PAGE, { mayMove: true, to: target });
    pages.fill(undefined, page, page + count);
    pages.splice(to, count, ...span);
  }

  #view({ space, pages }: Pair, { page, pages: count, value }: HugeStep): void {
    const span = pages.slice(page, page + count);
    if (!span.every((model) => model?.protection === "read-write")) return;
    let view;
    try {
      view = space.viewSync(BASE + page * PAGE, count * PAGE, "write");
    } catch (error) {
      if (error instanceof HmmError && error.code === "ENOMEM") return; // no frames in a row
      throw error;
    }
    const words = view.as(Uint32Array);
    for (const [i, model] of span.entries()) {
      assert.equal(words[i * 1024], model?.value, `page ${page + i}, in a view`);
      words[i * 1024] = value + i;
      if (model !== undefined) model.value = value + i;
    }
    view[Symbol.dispose]();
  }

  #check(pair: Pair, page: number): void {
    const model = pair.pages[page];
    this.#touch(pair, page, "read", model?.value ?? 0, (at) => {
      assert.equal(pair.space.u32.load(at), model?.value, `page ${page}`);
    });
  }

  #touch(
    { pages }: Pair,
    page: number,
    needs: Protection,
    value: number,
    access: (address: number) => void,
  ): void {
    const model = pages[page];
    const isAllowed =
      model !== undefined &&
      (model.protection === "read-write" || (needs === "read" && model.protection === "read"));
    if (isAllowed) {
      access(BASE + page * PAGE);
      model.value = value;
    } else {
      assert.throws(() => access(BASE + page * PAGE), SegmentationFault, `page ${page}`);
    }
  }
}
