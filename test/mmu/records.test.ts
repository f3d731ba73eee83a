/**
 * @module Records that are loaded in one go: every width against the bytes of the frames, over page
 * borders and sections, and while the translation goes between two words.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Machine } from "../../src/memory/machine.ts";
import type { RowOf, ValueAccess } from "../../src/mmu/access.ts";
import { TypedMemory } from "../../src/mmu/typed-memory.ts";
import { HmmError, SegmentationFault } from "../../src/sync/errors.ts";
import { PAGE, diceOf, makeMachine, run, seedFor } from "../memory/harness.ts";
import { TestTable } from "./test-table.ts";

const STEPS = 10_000;
/** Longest record, in elements. */
const MOST = 64;
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
const WIDE = [
  ["u64", BigUint64Array],
  ["i64", BigInt64Array],
] as const;
/** Runs of pages that are near, at the border of what is near, and far. */
const RUNS = [0, 511, 2 ** 19 - 1, 2 ** 31] as const;

interface World {
  readonly machine: Machine;
  readonly table: TestTable;
  readonly cache: TypedMemory;
  /** The bytes of each page that is mapped. */
  readonly bytesOf: Map<number, Uint8Array>;
  /** Maps `page` to one of the frames. */
  readonly place: (page: number, frame: number) => void;
}

/** Frames of two sections, all of different bytes. */
function makeWorld(frameCount: number): World {
  const machine = makeMachine({ ramPages: 64, debug: false });
  const { ram } = machine;
  const userPages = frameCount >> 1;
  const userPfn = run(machine, ram.sections.add(new SharedArrayBuffer(userPages * PAGE)));
  const frames = Array.from({ length: frameCount }, (_, i) =>
    i < userPages ? userPfn + i : run(machine, ram.allocFrame(true)),
  );
  const bytes = frames.map((pfn) => {
    const section = ram.sections.of(pfn);
    const own = new Uint8Array(section.i32.buffer, (pfn - section.basePfn) * PAGE, PAGE);
    for (let i = 0; i < PAGE; i++)
      own[i] = Math.imul(pfn, 0x9e3779b1) ^ (Math.imul(i + 1, 0x85ebca6b) >>> 13);
    return own;
  });
  const table = new TestTable(machine);
  const bytesOf = new Map<number, Uint8Array>();
  return {
    machine,
    table,
    cache: new TypedMemory(machine, table.shootdown, table),
    bytesOf,
    place(page, frame) {
      bytesOf.set(page, bytes[frame]!);
      table.set(page, frames[frame]!);
    },
  };
}

/** What `lengthBytes` from `address` on are. */
function bytesAt(
  { bytesOf }: World,
  address: number,
  lengthBytes: number,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(lengthBytes);
  for (let i = 0; i < lengthBytes; i++) {
    const page = Math.floor((address + i) / PAGE);
    bytes[i] = bytesOf.get(page)![address + i - page * PAGE]!; // every page has some
  }
  return bytes;
}

type Row = RowOf<number> | RowOf<bigint>;
type Load = (
  world: World,
  width: (typeof WIDTHS | typeof WIDE)[number][0],
  address: number,
  target: Row,
  offset: number,
  count: number,
) => void;

const load: Load = ({ cache }, width, address, target, offset, count) => {
  const access: { loadInto: ValueAccess<number | bigint>["loadInto"] } = cache[width];
  access.loadInto(address, target, offset, count);
};

/** Goes on behind the border of a page in the frame that it began in. */
const loadFromOneFrame: Load = ({ bytesOf }, _width, address, target, offset, count) => {
  const page = Math.floor(address / PAGE);
  const { buffer, byteOffset } = bytesOf.get(page)!; // every page has some
  const widthBytes = target.BYTES_PER_ELEMENT;
  const from = byteOffset + address - page * PAGE;
  const record = new Uint8Array(buffer).subarray(from, from + count * widthBytes);
  new Uint8Array(target.buffer).set(record, offset * widthBytes);
};

/**
 * Random records of every width; between them pages get other frames. Returns how many were not
 * what is there, or touched the target beside them.
 */
function countWrong(seed: number, loadRecord: Load): number {
  const world = makeWorld(16);
  const { table, machine } = world;
  const dice = diceOf(seed);
  const pages = RUNS.flatMap((page) => [page, page + 1]);
  for (const page of pages) world.place(page, dice(16));
  let wrong = 0;
  for (let step = 0; step < STEPS; step++) {
    const moved = pages[dice(pages.length)]!;
    if (dice(20) === 0) {
      world.place(moved, dice(16));
      table.flush(moved);
    }
    const [width, Type] = [...WIDTHS, ...WIDE][dice(10)]!;
    const widthBytes = Type.BYTES_PER_ELEMENT;
    const count = dice(MOST + 1);
    const elements = (2 * PAGE) / widthBytes - count;
    // Half of them around the border.
    const index =
      dice(2) === 0 ? dice(elements + 1) : PAGE / widthBytes - dice(Math.min(count, 64) + 1);
    const address = RUNS[dice(RUNS.length)]! * PAGE + index * widthBytes;
    const offset = dice(5);
    const target = new Type(offset + count + dice(3));
    const expected = new Type(target.length);
    new Uint8Array(expected.buffer, offset * widthBytes, count * widthBytes).set(
      bytesAt(world, address, count * widthBytes),
    );
    loadRecord(world, width, address, target, offset, count);
    if (target.some((value, i) => !Object.is(value, expected[i]))) wrong++;
  }
  machine.detach();
  return wrong;
}

test("random records of every width are what is there, and nothing beside them is touched", (t) => {
  assert.equal(countWrong(seedFor(t), load), 0);
});

test("the same records are wrong when the border of a page is no border", (t) => {
  assert.notEqual(countWrong(seedFor(t), loadFromOneFrame), 0);
});

test("by default a record fills its target from the offset on", () => {
  const { cache, place } = makeWorld(2);
  place(0, 0);
  const whole = new Uint32Array(4);
  cache.u32.loadInto(16, whole);
  const tail = new Uint32Array(6).fill(1);
  cache.u32.loadInto(16, tail, 2);
  assert.deepEqual([...tail], [1, 1, ...whole]);
  assert.deepEqual(
    [...whole],
    [16, 20, 24, 28].map((address) => cache.u32.load(address)),
  );
});

/** A target that calls `onFirst` when its first element has been loaded. */
function watched<Target extends RowOf<number>>(target: Target, onFirst: () => void): Target {
  let isFirst = true;
  return new Proxy(target, {
    get: (array, name) => Reflect.get(array, name, array) as unknown,
    set(array, name, value) {
      array[Number(name)] = value as number;
      if (isFirst) {
        isFirst = false;
        onFirst();
      }
      return true;
    },
  });
}

for (const isNear of [true, false]) {
  /** Loads two words; between them the page gets another frame. Whether both are of one frame. */
  const isWhole = (isFlushed: boolean): boolean => {
    const page = isNear ? 1 : 2 ** 31;
    return WIDTHS.every(([width, Type]) => {
      const world = makeWorld(4);
      const { cache, table, place } = world;
      place(page, 2);
      cache[width].load(page * PAGE); // keeps the leaf
      const target = watched(new Type(8), () => {
        place(page, 3);
        if (isFlushed) table.flush(page);
      });
      const access: ValueAccess = cache[width];
      access.loadInto(page * PAGE, target);
      const bytes = bytesAt(world, page * PAGE, 8 * Type.BYTES_PER_ELEMENT);
      const expected = new Type(bytes.buffer);
      return expected.every((value, i) => Object.is(value, target[i]));
    });
  };
  const where = isNear ? "near" : "far";

  test(`a record is loaded anew when its page goes between two words (${where})`, () => {
    assert.ok(isWhole(true));
  });

  test(`it is torn when nobody flushes (${where})`, () => {
    assert.ok(!isWhole(false));
  });
}

test("addresses are looked at once the translation has held: a stale one may give none", () => {
  const { cache, table, place, bytesOf } = makeWorld(4);
  place(0, 2);
  bytesOf.get(0)!.fill(255);
  place(1, 3);
  const good = bytesOf.get(1)!.fill(0);
  good[0] = 64;
  good[8 + 6] = 16; // 2^52
  const target = watched(new Float64Array(2), () => {
    place(0, 3);
    table.flush(0);
  });
  cache.ptr.loadInto(0, target);
  assert.deepEqual([target[0], target[1]], [64, 2 ** 52]);
  good[8 + 6] = 32;
  assert.throws(() => cache.ptr.loadInto(PAGE, new Float64Array(2)), {
    code: "EINVAL",
    address: PAGE + 8,
  });
});

test("a record is refused that does not fit, is not aligned, or is not mapped", () => {
  const { cache, place } = makeWorld(2);
  place(0, 0);
  const isInvalid = (error: unknown): boolean =>
    error instanceof HmmError && error.code === "EINVAL";
  for (const [width, Type] of WIDTHS) {
    const access: ValueAccess = cache[width];
    const target = new Type(4);
    access.load(0); // keeps the leaf
    const numbers: readonly (readonly [offset: number, count?: number])[] = [
      [0, 5],
      [1, 4],
      [5],
      [-1, 2],
      [0, -1],
      [0.5, 1],
      [0, 1.5],
      [0.5, 1.5],
      [0, Number.NaN],
      [2 ** 32, 0],
    ];
    for (const [offset, count] of numbers)
      assert.throws(() => access.loadInto(0, target, offset, count), isInvalid, width);
    for (const address of [-8, 0.5, Number.NaN, 2 ** 53, Infinity])
      assert.throws(() => access.loadInto(address, target), isInvalid, width);
    if (Type.BYTES_PER_ELEMENT > 1)
      assert.throws(() => access.loadInto(1, target), isInvalid, width);
    assert.deepEqual([...target], [0, 0, 0, 0]);
    // The second piece.
    const last = PAGE - Type.BYTES_PER_ELEMENT;
    assert.throws(
      () => access.loadInto(last, target, 0, 2),
      (error) => error instanceof SegmentationFault && error.address === PAGE,
    );
    access.loadInto(PAGE, target, 2, 0); // no element, no access
  }
});
