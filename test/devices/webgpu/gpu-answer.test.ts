/**
 * @module A task that waits for an answer of the GPU, which here is a promise of the test's own: a
 * value, a loss that is known before the rejection or is told after it, and a refusal. No GPU.
 */

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { AddressSpace } from "../../../src/index.ts";
import { DriverThread } from "../../../src/driver.ts";
import { type Answering, gpuAnswer } from "../../../src/devices/webgpu/gpu-answer.ts";
import { LOST, type Lost } from "../../../src/devices/webgpu/gpu.ts";
import { WebGpuRecord, initRecord } from "../../../src/devices/webgpu-record/record.ts";

const timeout = 20_000;

/** A GPU that is lost when it is told, or destroyed. */
class PlayedGpu implements Answering {
  readonly device: { readonly lost: Promise<void> };
  isLost = false;
  readonly eagerMs: number | undefined;
  destroyed = 0;
  #tell: () => void = () => {};

  constructor(eagerMs?: number) {
    this.eagerMs = eagerMs;
    const lost = new Promise<void>((resolve) => {
      this.#tell = resolve;
    });
    this.device = { lost };
  }

  lose(): void {
    this.isLost = true;
    this.#tell();
  }

  destroy(): void {
    this.destroyed++;
    this.lose();
  }
}

type Ask = (gpu: Answering, promise: Promise<number>) => Promise<number | Lost>;

async function withAnswers(use: (ask: Ask) => Promise<void>): Promise<void> {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 20 });
  using driver = DriverThread.open(space);
  const { heap, memory } = driver.machine;
  const at = await driver.run(heap.alloc(WebGpuRecord));
  const record = WebGpuRecord.at(memory, at);
  initRecord(record);
  const { answered } = record;
  await use((gpu, promise) => driver.run(gpuAnswer(gpu, driver, promise, answered)));
  await driver.run(heap.free(WebGpuRecord, at));
}

/** What a promise of the GPU is, in a later turn of the event loop. */
function later(settle: () => number): Promise<number> {
  return new Promise((resolve, reject) => {
    setTimeout(() => {
      try {
        resolve(settle());
      } catch (error) {
        reject(error);
      }
    });
  });
}

function refuse(): never {
  throw new Error("the GPU refuses");
}

test("a value answers, one after the other", { timeout }, () =>
  withAnswers(async (ask) => {
    const gpu = new PlayedGpu();
    for (let i = 0; i < 3; i++)
      assert.equal(
        await ask(
          gpu,
          later(() => i),
        ),
        i,
      );
    assert.equal(gpu.destroyed, 0);
  }),
);

test("a GPU that is known to be lost answers nothing", { timeout }, () =>
  withAnswers(async (ask) => {
    const gpu = new PlayedGpu();
    gpu.lose();
    assert.equal(await ask(gpu, later(refuse)), LOST);
    assert.equal(gpu.destroyed, 0);
  }),
);

test("the loss may be told after the rejection", { timeout }, () =>
  withAnswers(async (ask) => {
    const gpu = new PlayedGpu();
    const refused = later(refuse);
    refused.catch(() => setTimeout(() => gpu.lose()));
    assert.equal(await ask(gpu, refused), LOST);
    assert.equal(gpu.destroyed, 0, "it was lost, not given up");
    const next = new PlayedGpu();
    assert.equal(
      await ask(
        next,
        later(() => 5),
      ),
      5,
      "nothing is left of the answer before",
    );
  }),
);

test("a GPU that refuses, and is not lost, is given up", { timeout }, () =>
  withAnswers(async (ask) => {
    const gpu = new PlayedGpu();
    assert.equal(await ask(gpu, later(refuse)), LOST);
    assert.equal(gpu.destroyed, 1);
    const next = new PlayedGpu();
    assert.equal(
      await ask(
        next,
        later(() => 7),
      ),
      7,
    );
  }),
);

/** The answer after 50 turns of the event loop, and the sleeps of this thread until then. */
async function sleepsOf(eagerMs: number | undefined): Promise<{ answer: unknown; sleeps: number }> {
  const { mock: sleeping } = mock.method(Atomics, "wait");
  let turns = 0;
  const turned = new Promise<number>((resolve) => {
    const turn = (): void => {
      if (++turns === 50) resolve(turns);
      else setImmediate(turn);
    };
    setImmediate(turn);
  });
  try {
    let answer: unknown;
    await withAnswers(async (ask) => {
      answer = await ask(new PlayedGpu(eagerMs), turned);
    });
    const sleeps = sleeping.callCount();
    await new Promise((resolve) => {
      setTimeout(resolve, 5);
    });
    assert.equal(sleeping.callCount(), sleeps, "nothing is slowed down once the answer is there");
    return { answer, sleeps };
  } finally {
    sleeping.restore();
  }
}

test("a thread that waits for long sleeps between the turns of its loop", { timeout }, async () => {
  const { answer, sleeps } = await sleepsOf(0);
  assert.equal(answer, 50);
  assert.ok(sleeps > 20 && sleeps <= 51, `${sleeps} sleeps`);
});

test("it turns freely at first, and always where the host tells", { timeout }, async () => {
  for (const eagerMs of [60_000, undefined])
    assert.deepEqual(await sleepsOf(eagerMs), { answer: 50, sleeps: 0 });
});
