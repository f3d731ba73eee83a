/**
 * @module Loads that go from page to page, so that the second level of the software TLB answers: at
 * both sides of the addresses that its quick look knows, in two sections, while translations come
 * and go.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { TRANSLATION_WRITABLE } from "../../src/mmu/translator.ts";
import { TypedMemory } from "../../src/mmu/typed-memory.ts";
import { HmmError } from "../../src/sync/errors.ts";
import { Shootdown } from "../../src/sync/primitives/shootdown.ts";
import { PAGE, diceOf, makeMachine, run, seedFor } from "../memory/harness.ts";

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
  2 ** 32 - 1,
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
  const table = new Map(PAGES.map((page) => [page, frames[dice(frames.length)]!]));
  const shootdown = new Shootdown(machine.memory, run(machine, machine.heap.allocWords(512)));
  shootdown.init();
  // every page is in the table
  const translator = { translate: (page: number) => table.get(page)! * 2 + TRANSLATION_WRITABLE };
  const cache = new TypedMemory(machine, shootdown, translator);
  let wrong = 0;
  for (let step = 0; step < STEPS; step++) {
    const page = PAGES[dice(PAGES.length)]!;
    if (dice(20) === 0) {
      table.set(page, frames[dice(frames.length)]!);
      if (isFlushed) run(machine, shootdown.flush(page, page + 1));
    }
    const [width, widthBytes] = WIDTHS[dice(WIDTHS.length)]!;
    const index = dice(PAGE / widthBytes);
    const pfn = table.get(page)!; // every page is in the table
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

test("an empty cache answers no address from its quick look", () => {
  const machine = makeMachine();
  const shootdown = new Shootdown(machine.memory, run(machine, machine.heap.allocWords(512)));
  shootdown.init();
  const asked: number[] = [];
  const pfn = run(machine, machine.ram.allocFrame(true));
  const translate = (page: number): number => {
    asked.push(page);
    return pfn * 2 + TRANSLATION_WRITABLE;
  };
  const { u32 } = new TypedMemory(machine, shootdown, { translate });
  // A page beyond the quick look, so that the section is known, then the last one within.
  for (const page of [2 ** 19, 2 ** 19, 2 ** 19 - 1, 2 ** 19 - 1 - 256])
    assert.equal(u32.load(page * PAGE), 0);
  assert.deepEqual(asked, [2 ** 19, 2 ** 19 - 1, 2 ** 19 - 1 - 256]);
  for (const address of [-4, -PAGE, -(2 ** 31), 2 ** 31 - 2, 0.5, 2 ** 53, Number.NaN]) {
    assert.throws(
      () => u32.load(address),
      (error) => error instanceof HmmError && error.code === "EINVAL",
    );
  }
  machine.detach();
});
