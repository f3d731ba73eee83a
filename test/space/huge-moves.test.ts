/**
 * @module Huge pages and a device: random calls with migrations in between beside the naive model
 * of huge-model.ts, and ranges of a device with pages of 2 MiB.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { AddressSpace, HmmError, SoftwareDevice } from "../../src/index.ts";
import { HUGE_BASE, HugeModel, drawHugeStep } from "./huge-model.ts";

const seed = Number(process.env["HMM_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const runs = Number(process.env["HMM_TEST_RUNS"] ?? 6);
const PAGE = 4096;
const HUGE = 2 * 2 ** 20;

function randomNumbers(start: number): (below: number) => number {
  let state = start >>> 0 || 1;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Moves pages there or back; a hole or a protection may refuse it, and contents stay. */
async function moveSome(device: SoftwareDevice, random: (below: number) => number): Promise<void> {
  const page = random(2) === 0 ? random(6) * 512 : random(3072);
  const pages = Math.min(random(2) === 0 ? 512 * (1 + random(2)) : 1 + random(512), 3072 - page);
  if (random(5) === 0) device.failNextAllocation();
  try {
    const move = random(3) === 0 ? "migrateBack" : "migrate";
    await device[move](HUGE_BASE + page * PAGE, pages * PAGE);
  } catch (error) {
    if (!(error instanceof HmmError) || !["EINVAL", "ENOMEM", "EFAULT"].includes(error.code))
      throw error;
  }
}

for (const memory of ["private", "coherent"] as const) {
  test(`random calls and moves of huge pages, ${memory}, seed ${seed}`, async () => {
    for (let run = 0; run < runs; run++) {
      const random = randomNumbers(seed + run);
      await using space = await AddressSpace.create({
        ramBytes: 96 * 2 ** 20,
        hugePages: "always",
      });
      const model = new HugeModel(space.forkSync());
      await using device = await SoftwareDevice.create(model.first, {
        memoryBytes: 8 * 2 ** 20,
        memory,
      });
      try {
        for (let i = 0; i < 40; i++) {
          if (random(3) === 0) await moveSome(device, random);
          else model.apply(drawHugeStep(random));
        }
        model.checkAll();
      } catch (error) {
        const again = `HMM_TEST_SEED=${seed + run} HMM_TEST_RUNS=1`;
        throw new Error(`run of seed ${seed + run}: ${again}`, { cause: error });
      } finally {
        model.close();
      }
    }
  });
}

test("a device reads and writes a huge page of its own, and a store of the CPU brings it back", async () => {
  await using space = await AddressSpace.create({ ramBytes: 32 * 2 ** 20, hugePages: "always" });
  await using device = await SoftwareDevice.create(space, {
    memoryBytes: 4 * 2 ** 20,
    memory: "private",
  });
  const p = await space.mmap(HUGE);
  space.u32.store(p + 5 * PAGE, 5);
  assert.deepEqual(await device.migrate(p, HUGE), { pages: 512, faults: 0 });
  const seen = new Uint32Array(1);
  await device.read(p + 5 * PAGE, new Uint8Array(seen.buffer));
  assert.equal(seen[0], 5);
  await device.write(p + 6 * PAGE, new Uint8Array(Uint32Array.of(6).buffer));
  assert.deepEqual(await device.snapshot(p + 6 * PAGE, PAGE), ["own-write-huge"]);
  space.u32.store(p + 7 * PAGE, 7);
  assert.deepEqual(
    [5, 6, 7].map((page) => space.u32.load(p + page * PAGE)),
    [5, 6, 7],
  );
  assert.deepEqual(await device.snapshot(p, PAGE), ["write-huge"], "it came back as one");
});
