/** @module Slots of the backups: who has which, against a map. `HMM_SEED=N` runs a seed again. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Backups, sortAscending } from "../../../src/devices/webgpu/backups.ts";
import { diceOf } from "../../dice.ts";

const FRAMES = 40;
const SLOTS = 12;

test("no two frames have one slot, and each that is good has its own", () => {
  const seed = Number(process.env["HMM_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  const dice = diceOf(seed);
  const backups = new Backups(FRAMES, SLOTS);
  /** By frame: its slot, and whether that is good. */
  const model = new Map<number, { slot: number; isGood: boolean }>();
  const where = `HMM_SEED=${seed}`;
  for (let round = 0; round < 2000; round++) {
    const frame = dice(FRAMES);
    const kind = dice(4);
    if (kind === 0) {
      backups.release(frame);
      model.delete(frame);
    } else if (kind === 1) {
      backups.spoil(frame);
      const known = model.get(frame);
      if (known !== undefined) known.isGood = false;
    } else {
      const wanted = new Set(Array.from({ length: 1 + dice(6) }, () => dice(FRAMES)));
      const frames = [...wanted].toSorted((a, b) => a - b);
      const missing = backups.missingOf(frames);
      const isMissing = (one: number): boolean => model.get(one)?.isGood !== true;
      assert.deepEqual(missing, frames.filter(isMissing), where);
      const without = missing.filter((one) => !model.has(one)).length;
      assert.equal(backups.lackingFor(missing), without - (SLOTS - model.size), where);
      if (backups.lackingFor(missing) > 0) continue;
      const slots = backups.take(missing);
      for (const [i, one] of missing.entries()) {
        const slot = slots[i] ?? -1;
        assert.equal(model.get(one)?.slot ?? slot, slot, `${where}: a frame keeps its slot`);
        model.set(one, { slot, isGood: true });
      }
    }
    const taken = [...model.values()].map(({ slot }) => slot);
    assert.equal(new Set(taken).size, taken.length, where);
    for (let one = 0; one < FRAMES; one++) {
      assert.equal(backups.isGood(one), model.get(one)?.isGood === true, where);
      if (model.has(one)) assert.equal(backups.slotOf(one), model.get(one)?.slot, where);
    }
  }
});

test("frames in a row get slots in a row, whoever had them before", () => {
  const backups = new Backups(FRAMES, SLOTS);
  assert.deepEqual(backups.take([2, 3, 4, 5]), [0, 1, 2, 3]);
  for (const frame of [4, 2, 5, 3]) backups.release(frame);
  assert.deepEqual(backups.take([7, 8, 9, 10]), [0, 1, 2, 3]);
  backups.spoil(8);
  backups.spoil(9);
  assert.deepEqual(backups.missingOf([7, 8, 9, 10]), [8, 9]);
  assert.deepEqual(backups.take([8, 9]), [1, 2], "there they go again");
});

test("a slot that is asked for and does not exist is an assertion", () => {
  const backups = new Backups(FRAMES, 1);
  assert.throws(() => backups.slotOf(3), /it has none/u);
  backups.take([3]);
  assert.throws(() => backups.take([4]), /no slot is free/u);
});

test("numbers are sorted in place", () => {
  const numbers = [3, 10, 2, 2];
  sortAscending(numbers);
  assert.deepEqual(numbers, [2, 2, 3, 10]);
});
