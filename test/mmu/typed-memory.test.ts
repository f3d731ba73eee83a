/** @module Typed access in one thread: widths, alignment, hits, and translations that go away. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Machine } from "../../src/memory/machine.ts";
import type { IntegerAccess, ValueAccess } from "../../src/mmu/access.ts";
import { TypedMemory } from "../../src/mmu/typed-memory.ts";
import { SegmentationFault } from "../../src/sync/errors.ts";
import { PFN_LIMIT } from "../../src/memory/frames/section-records.ts";
import { PAGE, makeMachine, run } from "../memory/harness.ts";
import { TestTable } from "./test-table.ts";

interface Mmu {
  readonly machine: Machine;
  readonly table: TestTable;
  readonly cache: TypedMemory;
  readonly map: (page: number, writable?: boolean) => number;
  readonly unmap: (page: number) => void;
}

function makeMmu(ramPages = 64): Mmu {
  const machine = makeMachine({ ramPages });
  const table = new TestTable(machine);
  const cache = new TypedMemory(machine, table.shootdown, table);
  const frames = new Map<number, number>();
  return {
    machine,
    table,
    cache,
    map(page, writable = true) {
      const pfn = run(machine, machine.ram.allocFrame(true));
      frames.set(page, pfn);
      table.set(page, pfn, writable);
      return pfn;
    },
    unmap(page) {
      table.clear(page);
      table.flush(page);
      run(machine, machine.ram.refs.pagePut(frames.get(page) ?? 0));
    },
  };
}

const WIDTHS = [
  ["u8", Uint8Array],
  ["i8", Int8Array],
  ["u16", Uint16Array],
  ["i16", Int16Array],
  ["u32", Uint32Array],
  ["i32", Int32Array],
  ["f32", Float32Array],
  ["f64", Float64Array],
] as const;

const INTEGERS = ["u8", "i8", "u16", "i16", "u32", "i32"] as const;

test("each width loads and stores what a typed array would", () => {
  const { machine, cache, map } = makeMmu();
  const page = 2 ** 31 + 7; // far above what a small integer holds
  const pfn = map(page);
  const section = machine.ram.sections.of(pfn);
  const values = [
    0,
    1,
    -1,
    127,
    128,
    255,
    256,
    -32_769,
    65_535,
    2 ** 31,
    -(2 ** 31),
    2 ** 32 + 5,
    1.5,
    -0,
    1e300,
    Number.NaN,
    Infinity,
  ];
  for (const [width, Type] of WIDTHS) {
    const plain = section[width];
    const start = (section.wordIndex(pfn) * 4) / Type.BYTES_PER_ELEMENT;
    const access: ValueAccess = cache[width];
    for (const index of [0, 1, 5, PAGE / Type.BYTES_PER_ELEMENT - 1]) {
      const address = page * PAGE + index * Type.BYTES_PER_ELEMENT;
      for (const value of values) {
        const expected = Type.of(value)[0];
        access.store(address, value);
        assert.ok(Object.is(plain[start + index], expected), `${width} store ${value}`);
        assert.ok(Object.is(access.load(address), expected), `${width} load ${value}`);
      }
    }
  }
});

const OPERATIONS = [
  "atomicAdd",
  "atomicSub",
  "atomicAnd",
  "atomicOr",
  "atomicXor",
  "atomicExchange",
] as const;

test("each integer width does what Atomics does, and returns the value from before", () => {
  const { cache, map } = makeMmu();
  map(16);
  const address = 16 * PAGE + 64;
  for (const [width, Type] of WIDTHS) {
    if (!INTEGERS.includes(width as (typeof INTEGERS)[number])) continue;
    const access = cache[width] as IntegerAccess;
    const model = Type.of(200) as Int32Array;
    access.store(address, 200);
    for (const operation of OPERATIONS) {
      for (const value of [3, -77, 200, 70_000]) {
        const before = access[operation](address, value);
        assert.equal(before, model[0], `${width} ${operation} ${value}`);
        model[0] = {
          atomicAdd: model[0]! + value,
          atomicSub: model[0]! - value,
          atomicAnd: model[0]! & value,
          atomicOr: model[0]! | value,
          atomicXor: model[0]! ^ value,
          atomicExchange: value,
        }[operation];
        assert.equal(access.load(address), model[0], `${width} ${operation} ${value}`);
      }
    }
    access.atomicStore(address, -1);
    model[0] = -1;
    assert.equal(access.atomicLoad(address), model[0], `${width} atomicStore`);
    const current = access.load(address);
    assert.equal(access.atomicCompareExchange(address, current + 1, 9), current);
    assert.equal(access.load(address), current);
    assert.equal(access.atomicCompareExchange(address, current, 9), current);
    assert.equal(access.load(address), 9);
  }
});

/** What a caller without a type checker might pass. */
const nothing: unknown = undefined;
const bigint: unknown = 1n;
const throwing: unknown = { valueOf: () => assert.fail("no number") };

test("addresses that are not aligned whole numbers below 2^53 are EINVAL, for every width, cached or not", () => {
  const { cache, map } = makeMmu();
  map(3);
  const base = 3 * PAGE;
  for (const [width, Type] of WIDTHS) {
    const access: ValueAccess = cache[width];
    const bytes = Type.BYTES_PER_ELEMENT;
    const bad = [
      base + 0.5,
      -1 * bytes,
      -base,
      Number.NaN,
      Infinity,
      -Infinity,
      2 ** 53,
      2 ** 60,
      base + bytes / 2,
      nothing as number,
    ];
    if (bytes > 1) bad.push(base + 1, base + PAGE - 1);
    for (const warm of [false, true]) {
      if (warm) access.store(base, access.load(base));
      for (const address of bad) {
        assert.throws(
          () => access.load(address),
          { code: "EINVAL", message: /Cannot access \d bytes at/ },
          `${width} load ${address}`,
        );
        assert.throws(
          () => access.store(address, 1),
          { code: "EINVAL" },
          `${width} store ${address}`,
        );
      }
    }
  }
  assert.throws(() => cache.u32.atomicAdd(base + 2, 1), { code: "EINVAL" });
  assert.throws(() => cache.u8.load(4 * PAGE), SegmentationFault, "the next page is not mapped");
});

test("the table is walked once by each width while nothing is flushed, also for another page", () => {
  const { cache, table, map } = makeMmu();
  const pages = [1, 2, 300, 513];
  for (const page of pages) map(page);
  const round = (value: number): void => {
    for (const page of pages) {
      cache.u32.load(page * PAGE + 8);
      cache.f64.load(page * PAGE);
      cache.u32.store(page * PAGE, value);
      cache.i16.load(page * PAGE);
    }
  };
  round(0);
  // Page 513 lies in another block: its leaf was found once.
  assert.equal(table.walks, 4 + 1);
  for (let value = 1; value < 50; value++) round(value);
  assert.equal(table.walks, 4 + 1);
  table.flush(1);
  round(50);
  assert.equal(table.walks, 4 + 1 + 4, "the other block has another generation");
  assert.deepEqual(table.faults, []);
});

test("two far blocks that share a word push each other out and stay right", () => {
  const { cache, table, map } = makeMmu();
  const pages = [2 ** 20, 2 ** 20 + 1024 * 512, 2 ** 20 + 2048 * 512];
  pages.forEach((page) => map(page));
  for (const page of pages) cache.u32.store(page * PAGE, page);
  for (let round = 0; round < 3; round++)
    for (const page of pages) assert.equal(cache.u32.load(page * PAGE), page);
  assert.ok(table.walks > 6);
});

test("an entry that changes is seen without a flush, except in the page that was met last", () => {
  const { machine, cache, table, map } = makeMmu();
  map(1);
  map(2);
  cache.u32.store(2 * PAGE, 2);
  cache.u32.load(1 * PAGE);
  table.set(2, run(machine, machine.ram.allocFrame(true)));
  assert.equal(cache.u32.load(2 * PAGE), 0);
});

test("a leaf beyond the view of the heap brings a longer view", () => {
  const { machine, cache, map } = makeMmu();
  map(1);
  cache.u32.load(PAGE);
  const before = machine.memory.words;
  while (machine.memory.words === before) {
    const at = run(machine, machine.heap.allocWords(4096));
    assert.ok(at > 0, "the heap is used up before its view grows");
    machine.memory.ensure(at + 4096);
  }
  for (const page of [513, 2 ** 20]) {
    map(page);
    cache.u32.store(page * PAGE, page);
    cache.f64.store(page * PAGE + 8, 0.5);
    assert.equal(cache.u32.load(page * PAGE), page);
    assert.equal(cache.f64.load(page * PAGE + 8), 0.5);
  }
});

test("after a shootdown a load goes to the table again: to the new frame, or to the fault", () => {
  const { cache, table, map, unmap } = makeMmu();
  map(10);
  cache.u32.store(10 * PAGE, 1);
  unmap(10);
  assert.throws(
    () => cache.u32.load(10 * PAGE),
    (error) =>
      error instanceof SegmentationFault && error.access === "read" && error.address === 10 * PAGE,
  );
  assert.throws(
    () => cache.u32.store(10 * PAGE, 2),
    (error) => error instanceof SegmentationFault && error.access === "write",
  );
  map(10);
  assert.equal(cache.u32.load(10 * PAGE), 0);
  assert.deepEqual(table.faults, ["10r", "10w"]);
});

test("without the shootdown the cache would go on with the old frame: it is the generation that tells", () => {
  const { machine, cache, table, map } = makeMmu();
  const pfn = map(10);
  cache.u32.store(10 * PAGE, 1);
  assert.equal(cache.u32.load(10 * PAGE), 1);
  table.clear(10);
  run(machine, machine.ram.refs.pagePut(pfn));
  const stranger = run(machine, machine.ram.allocFrame(true));
  assert.equal(stranger, pfn, "the frame was given to somebody else");
  machine.ram.sections.of(pfn).i32[machine.ram.sections.wordIndex(pfn)] = 666;
  assert.equal(cache.u32.load(10 * PAGE), 666, "who forgets to flush hands out strangers' data");
});

test("a read-only translation serves loads only, and a store asks for a better one", () => {
  const { cache, table, map } = makeMmu();
  const pfn = map(7, false);
  cache.u32.load(7 * PAGE);
  assert.throws(() => cache.u32.store(7 * PAGE, 1), SegmentationFault);
  assert.throws(() => cache.u32.atomicAdd(7 * PAGE, 1), SegmentationFault);
  table.set(7, pfn);
  cache.u32.store(7 * PAGE, 5);
  assert.equal(cache.u32.load(7 * PAGE), 5);
  assert.deepEqual(table.faults, ["7w", "7w"]);
});

test("a shootdown in the middle of a walk is noticed: the generation was read before it", () => {
  const { machine, cache, table, map } = makeMmu();
  const old = map(20);
  let walks = 0;
  table.duringWalk = () => {
    if (++walks > 1) return;
    const fresh = run(machine, machine.ram.allocFrame(true));
    machine.ram.sections.of(fresh).i32[machine.ram.sections.wordIndex(fresh)] = 2;
    machine.ram.sections.of(old).i32[machine.ram.sections.wordIndex(old)] = 666;
    table.set(20, fresh);
    table.flush(20);
  };
  assert.equal(cache.u32.load(20 * PAGE), 2);
  assert.equal(walks, 2);
});

test("a walk that read a number of no frame is believed only if nothing was shot down meanwhile", () => {
  const { cache, table, map } = makeMmu();
  const good = map(20);
  table.set(20, 2 ** 24 - 1);
  assert.throws(() => cache.u32.load(20 * PAGE), { code: "ENXIO" });
  let walks = 0;
  table.duringWalk = () => {
    if (++walks > 1) return;
    table.set(20, good);
    table.flush(20);
  };
  assert.equal(cache.u32.load(20 * PAGE), 0);
});

test("an access whose translation is always shot down gives up with an error instead of hanging", () => {
  const { cache, table, map } = makeMmu();
  map(20);
  table.duringWalk = () => table.flush(20);
  assert.throws(() => cache.u32.load(20 * PAGE), { code: "EAGAIN", message: /shot down/ });
});

test("a value that is refused leaves no store begun: a later shootdown does not wait for it", () => {
  const { cache, table, map } = makeMmu();
  map(20);
  for (const [width] of WIDTHS) {
    const access: ValueAccess = cache[width];
    access.store(20 * PAGE, 1);
    assert.throws(() => access.store(20 * PAGE, bigint as number), { code: "EINVAL" });
    assert.throws(() => access.store(20 * PAGE, throwing as number));
  }
  assert.throws(() => cache.u32.atomicAdd(20 * PAGE, bigint as number), { code: "EINVAL" });
  assert.throws(() => cache.u32.atomicCompareExchange(20 * PAGE, bigint as number, 1), {
    code: "EINVAL",
  });
  table.flush(20);
});

test("a section of a user is reached through the cache as the machine's own RAM is", () => {
  const { machine, cache, table } = makeMmu();
  const buffer = new SharedArrayBuffer(2 * PAGE);
  const basePfn = run(machine, machine.ram.sections.add(buffer));
  table.set(0, basePfn + 1);
  cache.f64.store(8, Math.PI);
  assert.equal(new Float64Array(buffer)[512 + 1], Math.PI);
});

const MOST_PAGES: number = 2 ** 21;

/**
 * A width remembers a buffer's section for stores. The buffer goes, and its numbers are given to
 * another one, which is mapped in a block that the width knows: whether a store goes there.
 */
function isStoredInReused(isFlushed: boolean): boolean {
  const { machine, cache, table, map } = makeMmu();
  const { sections } = machine.ram;
  const add = (pages = 1, buffer = new SharedArrayBuffer(PAGE)): number =>
    run(machine, sections.add(buffer, pages));
  const old = add();
  table.set(1, old);
  map(513);
  cache.u32.store(513 * PAGE, 1);
  cache.u32.store(PAGE, 1);
  table.clear(1);
  table.flush(1);
  assert.equal(run(machine, sections.remove(old)), 0);
  // All other numbers are used once.
  let endPfn = old;
  for (let pfn = add(MOST_PAGES); pfn > 0; pfn = add(MOST_PAGES)) endPfn = pfn + MOST_PAGES;
  add(PFN_LIMIT - endPfn);
  const buffer = new SharedArrayBuffer(PAGE);
  assert.equal(add(1, buffer), old, "the number is used again");
  if (isFlushed) table.flush(514);
  table.set(514, old);
  cache.u32.store(514 * PAGE, 2);
  assert.equal(cache.u32.load(514 * PAGE) === 2, isFlushed, "loads know the buffer in any case");
  return new Int32Array(buffer)[0] === 2;
}

test("a number that was given to another buffer is looked up anew: its place was flushed (X6)", () => {
  assert.ok(isStoredInReused(true));
});

test("without the flush a store goes to the buffer that is gone", () => {
  assert.ok(!isStoredInReused(false));
});

test("a page far inside a large buffer is reached by every width", () => {
  const { machine, cache, table } = makeMmu();
  const pages = 2 ** 19 + 2 ** 18; // 3 GiB, of which the host commits two pages
  const buffer = new SharedArrayBuffer(pages * PAGE);
  const basePfn = run(machine, machine.ram.sections.add(buffer));
  const page = pages - 1;
  const bytes = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  new Uint8Array(buffer, page * PAGE, 8).set(bytes);
  table.set(1, basePfn);
  table.set(2, basePfn + page);
  for (let round = 0; round < 2; round++) {
    for (const [width, Type] of WIDTHS) {
      const access: ValueAccess = cache[width];
      assert.equal(access.load(PAGE), 0, width);
      const expected = new Type(bytes.buffer)[0];
      assert.ok(Object.is(access.load(2 * PAGE), expected), width);
      const record = new Type(1);
      access.loadInto(2 * PAGE, record);
      assert.ok(Object.is(record[0], expected), width);
      access.store(PAGE, 0);
      access.store(2 * PAGE, expected!);
      assert.ok(Object.is(access.load(2 * PAGE), expected), width);
    }
  }
});
