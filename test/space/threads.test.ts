/**
 * @module Many threads on one address space: Workers attach by handle and run all operations at
 * once, and no data is lost or confused.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { type AddressSpace, HmmError, SegmentationFault } from "../../src/index.ts";
import { FAR, MIB, PAGE, accountingOf, makeSpace } from "./fixture.ts";
import { type Operation, operationArbitrary } from "./model-run.ts";
import { type Part, startModel, startWorker } from "./space-threads.ts";
import type { ModelRequest } from "./model-worker.ts";

const seed = Number(process.env["HMM_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const numRuns = Number(process.env["HMM_TEST_RUNS"] ?? 40);

for (const debug of [true, false]) {
  const kind = debug ? "debug" : "plain";

  test(`three Workers and this thread storm at once, ${kind} machine`, async () => {
    const witness = makeSpace({ debug, ramBytes: 8 * MIB });
    const before = accountingOf(witness);
    const space = witness.forkSync();
    const rounds = debug ? 60 : 200;
    space.mmapSync(4 * PAGE, { address: FAR, fixed: "replace", shared: true });
    const parts = [0, 1, 2].map((index) => startWorker(space, "storm", index, rounds));
    let own = 0;
    // The promise forms meanwhile, so that both runners are at work.
    for (let round = 0; round < rounds; round++) {
      const p = await space.mmap(5 * PAGE);
      await space.write(p, new Uint8Array(5 * PAGE).fill(round));
      space.u32.atomicAdd(FAR, 1);
      own++;
      const bytes = new Uint8Array(5 * PAGE);
      await space.read(p, bytes);
      assert.ok(bytes.every((byte) => byte === round % 256));
      await space.munmap(p, 5 * PAGE);
    }
    const sums = await Promise.all(parts.map((part) => part.result));
    const total = [0, 1, 2, 3].reduce((sum, i) => sum + space.u32.load(FAR + i * PAGE), 0);
    assert.equal(total, own + sums.reduce<number>((sum, one) => sum + Number(one), 0));
    assert.equal((await space.stats()).users, 1);
    await space.dispose();
    assert.deepEqual(accountingOf(witness), before);
    await witness.dispose();
  });
}

test("bulk copies never touch a frame that has been taken away", async () => {
  const space = makeSpace({ debug: false });
  space.mmapSync(64 * PAGE, { address: FAR, fixed: "replace" });
  const copying = { isDone: false };
  const parts = [0, 1].map((index) => startWorker(space, "copy", index, 300));
  const results = Promise.all(parts.map((part) => part.result)).finally(() => {
    copying.isDone = true;
  });
  results.catch(() => {}); // awaited below
  const marked = new Uint8Array(64 * PAGE).fill(0x11);
  const found = new Uint8Array(64 * PAGE);
  for (let round = 0; !copying.isDone; round++) {
    space.munmapSync(FAR, 64 * PAGE);
    // Most likely the very frames that were just taken away.
    const p = space.mmapSync(64 * PAGE);
    space.writeSync(p, marked);
    for (let looks = 0; looks < 3; looks++) space.readSync(p, found);
    assert.equal(
      found.find((byte) => byte !== 0x11),
      undefined,
      `round ${round}: a copy to unmapped memory landed here`,
    );
    space.munmapSync(p, 64 * PAGE);
    space.mmapSync(64 * PAGE, { address: FAR, fixed: "replace" });
    if (round % 4 === 0) await new Promise(setImmediate);
  }
  assert.ok((await results).every((copies) => Number(copies) > 0));
  await space.dispose();
});

test("the last to leave takes the space down, whoever it is", async () => {
  const witness = makeSpace();
  const before = accountingOf(witness);
  const space = witness.forkSync();
  space.mmapSync(4 * PAGE, { address: FAR, fixed: "replace" });
  const gate = new Int32Array(new SharedArrayBuffer(4));
  const part = startWorker(space, "storm", 0, 30, gate);
  await part.next("said");
  assert.equal((await space.stats()).users, 2);
  await space.dispose();
  Atomics.store(gate, 0, 1);
  Atomics.notify(gate, 0);
  await part.result;
  assert.deepEqual(accountingOf(witness), before);
  await witness.dispose();
});

test("a handle that arrives too late is stale in the Worker too", async () => {
  const witness = makeSpace();
  const space = witness.forkSync();
  const { worker, result } = startWorker(space, "visit", 0, 1);
  space.disposeSync(); // long before the Worker has started
  await assert.rejects(
    result,
    (error) => error instanceof Error && error.message.includes("attach before the last"),
  );
  await worker.terminate();
  await witness.dispose();
});

/** Window of thread `index`; windows start at different places in their page tables. */
function firstPageOf(index: number): number {
  return 2 ** 20 + index * 4096 + 512 - 10 * (index + 1);
}

async function runModel(part: Part, request: ModelRequest): Promise<readonly (number | string)[]> {
  const reply = part.next("reply");
  part.worker.postMessage(request);
  const loads = await reply;
  if (typeof loads === "string") throw new Error(loads);
  return loads as (number | string)[];
}

/** As the model answers. */
function loadOrCode(space: AddressSpace, address: number): number | string {
  try {
    return space.u32.load(address);
  } catch (error) {
    if (error instanceof SegmentationFault) return error.signal;
    if (error instanceof HmmError) return error.code;
    throw error;
  }
}

test(`random sequences in three threads at once, each against its model, seed ${seed}`, async () => {
  const witness = makeSpace({ debug: false, ramBytes: 32 * MIB });
  const before = accountingOf(witness);
  const space = witness.forkSync();
  const parts = [0, 1, 2].map(() => startModel(space));
  await Promise.all(parts.map((part) => part.next("said")));
  const sequence: fc.Arbitrary<Operation[]> = fc.array(operationArbitrary(false), {
    maxLength: 150,
    size: "max",
  });
  await fc.assert(
    fc.asyncProperty(fc.tuple(sequence, sequence, sequence), async (sequences) => {
      const loads = await Promise.all(
        parts.map((part, i) =>
          runModel(part, { operations: sequences[i]!, firstPage: firstPageOf(i) }),
        ),
      );
      for (const [i, expected] of loads.entries()) {
        const actual = expected.map((_, page) => loadOrCode(space, (firstPageOf(i) + page) * PAGE));
        assert.deepEqual(actual, expected, `what thread ${i} left, seen from this one`);
      }
    }),
    { seed, numRuns, endOnFailure: true },
  );
  for (const part of parts) {
    const exit = new Promise((resolve) => part.worker.once("exit", resolve));
    part.worker.postMessage("end");
    await exit;
  }
  assert.equal(
    space.mapsSync().every(({ start }) => start >= firstPageOf(0) * PAGE),
    true,
  );
  await space.dispose();
  assert.deepEqual(accountingOf(witness), before);
  await witness.dispose();
});
