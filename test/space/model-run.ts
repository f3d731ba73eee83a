/**
 * @module Sequences of operations as data, and their execution on an address space and on its
 * model, with a comparison of every result. The tests use it, and send sequences to Workers.
 */

import assert from "node:assert/strict";
import * as fc from "fast-check";
import { type AddressSpace, HmmError, SegmentationFault } from "../../src/index.ts";
import { PAGE } from "./fixture.ts";
import type { Answer, ModelProtection, ModelSpace } from "./model.ts";

/**
 * Pages of the window that operations play in. It crosses a border of page tables when it starts as
 * the tests let it.
 */
export const WINDOW_PAGES = 40;

/** Page numbers are offsets in the window; `space` picks one of the spaces that live. */
export type Operation = { readonly space: number } & (
  | {
      readonly kind: "mmap";
      readonly page: number;
      readonly count: number;
      readonly protection: ModelProtection;
      readonly shared: boolean;
      readonly placement: "replace" | "noreplace" | "anywhere";
    }
  | {
      readonly kind: "munmap" | "dontneed" | "view" | "bulk";
      readonly page: number;
      readonly count: number;
      readonly value: number;
    }
  | {
      readonly kind: "mprotect";
      readonly page: number;
      readonly count: number;
      readonly protection: ModelProtection;
    }
  | {
      readonly kind: "mremap";
      readonly page: number;
      readonly count: number;
      readonly newCount: number;
      readonly mayMove: boolean;
      readonly to: number | undefined;
      readonly keepOld: boolean;
    }
  | { readonly kind: "load" | "store" | "add"; readonly page: number; readonly value: number }
  | { readonly kind: "fork" }
  | { readonly kind: "dispose" }
);

const space = fc.nat({ max: 7 });
const page = fc.nat({ max: WINDOW_PAGES - 1 });
const count = fc.integer({ min: 1, max: 12 });
const anyValue = fc.integer({ min: 1, max: 2 ** 32 - 1 });
const anyProtection: fc.Arbitrary<ModelProtection> = fc.constantFrom(
  "read-write",
  "read-write",
  "read",
  "none",
);

/**
 * One operation; `isAlone` says whether unfixed mappings may be compared, which other threads would
 * disturb.
 */
export function operationArbitrary(isAlone: boolean): fc.Arbitrary<Operation> {
  const placement = isAlone
    ? fc.constantFrom<"replace" | "noreplace" | "anywhere">(
        "replace",
        "replace",
        "noreplace",
        "anywhere",
      )
    : fc.constantFrom<"replace" | "noreplace">("replace", "noreplace");
  const kinds = <K extends string>(...names: K[]): fc.Arbitrary<K> => fc.constantFrom(...names);
  const mapping: fc.Arbitrary<Operation> = fc.record({
    space,
    kind: kinds("mmap"),
    page,
    count,
    protection: anyProtection,
    shared: fc.boolean(),
    placement,
  });
  const lengths = fc.oneof(
    fc.record({ count: fc.oneof(count, fc.constant(0)), newCount: count }),
    count.map((both) => ({ count: both, newCount: both })),
  );
  const mremap = (
    mayMove: fc.Arbitrary<boolean>,
    to: fc.Arbitrary<number | undefined>,
  ): fc.Arbitrary<Operation> =>
    fc
      .tuple(
        lengths,
        fc.record({ space, kind: kinds("mremap"), page, mayMove, to, keepOld: fc.boolean() }),
      )
      .map(([sizes, operation]) => ({ ...sizes, ...operation }));
  const moving = mremap(isAlone ? fc.boolean() : fc.constant(false), fc.constant(undefined));
  const movingTo = mremap(fc.constant(true), page);
  return fc.oneof(
    { weight: 4, arbitrary: mapping },
    {
      weight: 5,
      arbitrary: fc.record({
        space,
        kind: kinds("munmap", "dontneed", "view", "bulk"),
        page,
        count,
        value: anyValue,
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        space,
        kind: kinds("mprotect"),
        page,
        count,
        protection: anyProtection,
      }),
    },
    { weight: 1, arbitrary: moving },
    { weight: 2, arbitrary: movingTo },
    {
      weight: 9,
      arbitrary: fc.record({
        space,
        kind: kinds("load", "store", "store", "add"),
        page,
        value: anyValue,
      }),
    },
    { weight: 1, arbitrary: fc.record({ space, kind: kinds("fork") }) },
    { weight: 1, arbitrary: fc.record({ space, kind: kinds("dispose") }) },
  );
}

/** The result of the real space: a number, the code of its error, or the signal of an access. */
function answerOf(operation: () => number | void): Answer {
  try {
    return operation() ?? 0;
  } catch (error) {
    if (error instanceof SegmentationFault) return error.signal;
    if (error instanceof HmmError) return error.code;
    throw error;
  }
}

interface Pair {
  readonly real: AddressSpace;
  readonly model: ModelSpace;
}

/** Spaces at one time, the first included. */
const SPACES_MAX = 4;

/**
 * A space and its forks, each with its model. `close` disposes of the forks and leaves the first
 * space as it is.
 */
export class ModelRun {
  readonly #pairs: Pair[];
  readonly #firstPage: number;
  readonly #isAlone: boolean;

  constructor(real: AddressSpace, model: ModelSpace, firstPage: number, isAlone: boolean) {
    this.#pairs = [{ real, model }];
    this.#firstPage = firstPage;
    this.#isAlone = isAlone;
  }

  /** Performs one operation on both and compares the results. */
  step(operation: Operation): void {
    const pair = this.#pairs[operation.space % this.#pairs.length]!;
    if (operation.kind === "fork") this.#fork(pair);
    else if (operation.kind === "dispose") this.#dispose(pair);
    else {
      const [actual, expected] = act(pair, operation, this.#firstPage);
      assert.equal(actual, expected, JSON.stringify(operation));
    }
  }

  /** Compares all that can be observed of all spaces. */
  check(): void {
    for (const { real, model } of this.#pairs) {
      if (this.#isAlone) assert.deepEqual(real.mapsSync(), model.maps());
      for (let at = this.#firstPage - 2; at < this.#firstPage + WINDOW_PAGES + 14; at++) {
        const isOwn = at >= this.#firstPage && at < this.#firstPage + WINDOW_PAGES;
        if (isOwn || this.#isAlone)
          assert.equal(
            answerOf(() => real.u32.load(at * PAGE)),
            model.load(at),
            `page ${at}`,
          );
      }
    }
  }

  /** Disposes of the forks. */
  close(): void {
    for (const { real } of this.#pairs.splice(1)) real.disposeSync();
  }

  #fork({ real, model }: Pair): void {
    if (this.#pairs.length < SPACES_MAX)
      this.#pairs.push({ real: real.forkSync(), model: model.fork() });
  }

  #dispose(pair: Pair): void {
    if (pair === this.#pairs[0]) return;
    pair.real.disposeSync();
    this.#pairs.splice(this.#pairs.indexOf(pair), 1);
  }
}

type Acting = Exclude<Operation, { readonly kind: "fork" | "dispose" }>;

/** Actual and expected answer. */
function act({ real, model }: Pair, operation: Acting, firstPage: number): [Answer, Answer] {
  const at = firstPage + operation.page;
  const address = at * PAGE;
  const isWithin = "count" in operation && operation.page + operation.count <= WINDOW_PAGES;
  const pages =
    "count" in operation ? (isWithin ? operation.count : WINDOW_PAGES - operation.page) : 1;
  const lengthBytes = pages * PAGE;
  switch (operation.kind) {
    case "mmap":
      return actMmap({ real, model }, operation, at, pages);
    case "munmap":
      return [answerOf(() => real.munmapSync(address, lengthBytes)), model.munmap(at, pages)];
    case "dontneed":
      return [
        answerOf(() => real.madviseSync(address, lengthBytes, "dontneed")),
        model.dontneed(at, pages),
      ];
    case "mprotect":
      return [
        answerOf(() => real.mprotectSync(address, lengthBytes, operation.protection)),
        model.mprotect(at, pages, operation.protection),
      ];
    case "mremap":
      return actMremap({ real, model }, operation, at, pages, firstPage);
    case "view":
      return actView({ real, model }, at, pages, operation.value);
    case "bulk":
      return actBulk({ real, model }, at, pages, operation.value);
    case "load":
      return [answerOf(() => real.u32.load(address)), model.load(at)];
    case "store":
      return [
        answerOf(() => real.u32.store(address, operation.value)),
        model.store(at, operation.value),
      ];
    case "add":
      return [
        answerOf(() => real.u32.atomicAdd(address, operation.value)),
        modelAdd(model, at, operation.value),
      ];
    default:
      throw new Error(`no such operation: ${JSON.stringify(operation)}`);
  }
}

/** The value before, or what the store answers: it is one access, for writing. */
function modelAdd(model: ModelSpace, at: number, value: number): Answer {
  const before = model.load(at);
  const stored = model.store(at, typeof before === "number" ? (before + value) >>> 0 : value);
  return stored === 0 ? before : stored;
}

function actMmap(
  { real, model }: Pair,
  operation: Extract<Operation, { kind: "mmap" }>,
  at: number,
  pages: number,
): [Answer, Answer] {
  const { protection, shared, placement } = operation;
  const options = { protection, shared };
  if (placement === "anywhere") {
    const expected = model.mmap(undefined, pages, { ...options, replace: false });
    return [answerOf(() => real.mmapSync(pages * PAGE, options)), expected];
  }
  const fixed = { address: at * PAGE, fixed: placement };
  const expected = model.mmap(at, pages, { ...options, replace: placement === "replace" });
  return [answerOf(() => real.mmapSync(pages * PAGE, { ...options, ...fixed })), expected];
}

function actMremap(
  { real, model }: Pair,
  operation: Extract<Operation, { kind: "mremap" }>,
  at: number,
  pages: number,
  firstPage: number,
): [Answer, Answer] {
  const { mayMove, keepOld } = operation;
  const to = operation.to === undefined ? undefined : firstPage + operation.to;
  const room = firstPage + WINDOW_PAGES - (to ?? at);
  const newPages = Math.min(operation.newCount, room);
  const options = { mayMove, keepOld, ...(to === undefined ? {} : { to: to * PAGE }) };
  return [
    answerOf(() => real.mremapSync(at * PAGE, pages * PAGE, newPages * PAGE, options)),
    model.mremap(at, pages, newPages, { mayMove, to, keepOld }),
  ];
}

/** Opens a write view, compares what it shows and writes through it. */
function actView(
  { real, model }: Pair,
  at: number,
  pages: number,
  stamp: number,
): [Answer, Answer] {
  const before = Array.from({ length: pages }, (_, i) => model.load(at + i));
  const isWritable = before.every((_, i) => model.store(at + i, (stamp + i) >>> 0) === 0);
  if (!isWritable) {
    for (const [i, old] of before.entries()) if (typeof old === "number") model.store(at + i, old);
    return [
      answerOf(() => real.viewSync(at * PAGE, pages * PAGE, "write").disposeSync()),
      "EFAULT",
    ];
  }
  const actual = answerOf(() => {
    using view = real.viewSync(at * PAGE, pages * PAGE, "write");
    const words = view.as(Uint32Array);
    assert.deepEqual(
      before.map((_, i) => words[i * (PAGE / 4)]),
      before,
    );
    for (let i = 0; i < pages; i++) words[i * (PAGE / 4)] = stamp + i;
  });
  if (actual !== "EBUSY") return [actual, 0];
  // Shared pages that another space has touched cannot be gathered: nothing was written then.
  for (const [i, old] of before.entries()) model.store(at + i, old as number);
  return [0, 0];
}

/**
 * Reads the range in one piece, then writes it in one piece, up to the first page that does not
 * allow it.
 */
function actBulk(
  { real, model }: Pair,
  at: number,
  pages: number,
  stamp: number,
): [Answer, Answer] {
  const bytes = new Uint8Array((pages - 1) * PAGE + 4);
  const words = new DataView(bytes.buffer);
  const read = answerOf(() => real.readSync(at * PAGE, bytes));
  const loads = Array.from({ length: pages }, (_, i) => model.load(at + i));
  const refused = loads.findIndex((load) => typeof load === "string");
  const readable = refused === -1 ? pages : refused;
  for (let i = 0; i < readable; i++) assert.equal(words.getUint32(i * PAGE, true), loads[i]);
  bytes.fill(0);
  for (let i = 0; i < pages; i++) words.setUint32(i * PAGE, stamp + i, true);
  const write = answerOf(() => real.writeSync(at * PAGE, bytes));
  let expected: Answer = 0;
  for (let i = 0; i < pages && expected === 0; i++)
    expected = model.store(at + i, (stamp + i) >>> 0);
  assert.equal(read, readable === pages ? 0 : loads[readable]);
  return [write, expected];
}
