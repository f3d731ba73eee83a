/**
 * @module Loads that go from page to page, so that the second level of the software TLB answers: at
 * both sides of the addresses that its quick look knows, in two sections, while translations come
 * and go.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { TypedMemory } from "../../src/mmu/typed-memory.ts";
import { HmmError, SegmentationFault } from "../../src/sync/errors.ts";
import { PAGE, makeMachine, run, seedFor } from "../memory/harness.ts";
import { TestTable } from "./test-table.ts";
import { diceOf } from "../dice.ts";

const STEPS = 20_000;
const WIDTHS = [
  ["u8", 1],
  ["i8", 1],
  ["u16", 2],
  ["i16", 2],
  ["u32", 4],
  ["i32", 4],
  ["f32", 4],
  ["f64", 8],
] as const;

/**
 * Pages that share entries, and the pages around the first one that is too far for the quick look.
 */
const PAGES = [
  0,
  1,
  2,
  256,
  257,
  4096,
  2 ** 19 - 2,
  2 ** 19 - 1,
  2 ** 19,
  2 ** 19 + 1,
  2 ** 20,
  2 ** 31,
  2 ** 32 - 513,
];

/**
 * Random loads; between them pages get other frames. Returns how many loads found what was not
 * there.
 */
function countWrong(seed: number, isFlushed: boolean): number {
  const machine = makeMachine({ ramPages: 64, debug: false });
  const { ram } = machine;
  const userPfn = run(machine, ram.sections.add(new SharedArrayBuffer(32 * PAGE)));
  const frames = [userPfn, userPfn + 31];
  for (let i = 0; i < 30; i++) frames.push(run(machine, ram.allocFrame(true)));
  for (const pfn of frames) {
    const section = ram.sections.of(pfn);
    const start = section.wordIndex(pfn);
    for (let i = 0; i < PAGE / 4; i++)
      section.i32[start + i] = Math.imul(pfn, 0x9e3779b1) ^ Math.imul(i, 0x85ebca6b);
  }

  const dice = diceOf(seed);
  const frameOf = new Map<number, number>();
  const table = new TestTable(machine);
  const place = (page: number): void => {
    const pfn = frames[dice(frames.length)]!;
    frameOf.set(page, pfn);
    table.set(page, pfn);
  };
  PAGES.forEach(place);
  const cache = new TypedMemory(machine, table.shootdown, table);
  let wrong = 0;
  for (let step = 0; step < STEPS; step++) {
    const page = PAGES[dice(PAGES.length)]!;
    if (dice(20) === 0) {
      place(page);
      if (isFlushed) table.flush(page);
    }
    const [width, widthBytes] = WIDTHS[dice(WIDTHS.length)]!;
    const index = dice(PAGE / widthBytes);
    const pfn = frameOf.get(page)!; // every page has one
    const section = ram.sections.of(pfn);
    const expected = section[width][(section.wordIndex(pfn) * 4) / widthBytes + index];
    for (let again = dice(3); again >= 0; again--) {
      if (!Object.is(cache[width].load(page * PAGE + index * widthBytes), expected)) wrong++;
    }
  }
  machine.detach();
  return wrong;
}

test("random loads over pages that share entries find what is there", (t) => {
  assert.equal(countWrong(seedFor(t), true), 0);
});

test("the same loads are wrong when nobody flushes", (t) => {
  assert.notEqual(countWrong(seedFor(t), false), 0);
});

test("what was met last answers for no page of another block, near or far", () => {
  const machine = makeMachine();
  const table = new TestTable(machine);
  const pages = [0, 511, 2 ** 19 - 1, 2 ** 19, 2 ** 19 + 512, 2 ** 31];
  const { u32 } = new TypedMemory(machine, table.shootdown, table);
  for (const page of pages) table.set(page, run(machine, machine.ram.allocFrame(true)));
  for (const page of pages) u32.store(page * PAGE, page);
  for (const page of pages.toReversed()) assert.equal(u32.load(page * PAGE), page);
  for (const address of [-4, -PAGE, -(2 ** 31), 2 ** 31 - 2, 0.5, 2 ** 53, Number.NaN]) {
    assert.throws(
      () => u32.load(address),
      (error) => error instanceof HmmError && error.code === "EINVAL",
    );
  }
  machine.detach();
});

test("a fault leaves what is remembered as it is, also if its entry names another section", () => {
  const machine = makeMachine();
  const table = new TestTable(machine);
  const cache = new TypedMemory(machine, table.shootdown, table);
  const userPfn = run(machine, machine.ram.sections.add(new SharedArrayBuffer(PAGE)));
  table.set(1, userPfn);
  table.set(2, run(machine, machine.ram.allocFrame(true)));
  for (const [width, widthBytes] of WIDTHS) {
    const access = cache[width];
    access.store(PAGE + widthBytes, 3);
    access.store(2 * PAGE + widthBytes, 5);
    assert.equal(access.load(PAGE + widthBytes), 3);
    assert.equal(access.load(2 * PAGE + widthBytes), 5);
    table.refuse(1);
    table.flush(1);
    assert.throws(() => access.load(PAGE + widthBytes), SegmentationFault);
    assert.equal(access.load(2 * PAGE + widthBytes), 5, width);
    table.set(1, userPfn);
  }
  machine.detach();
});
