/**
 * @module A driver's bare notifier: told before and after each change, and once when the space
 * dies; a thread without its code is refused; a dead thread's notifier is given back. Explored: it
 * comes and goes beside a thread that discards a page; the twin frees it first.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { explore } from "../../src/checker/explore.ts";
import { HARNESS_PAGE, harnessScenario } from "../../src/checker/harness/hmm-harness.ts";
import type { AnyScenario } from "../../src/checker/scenario.ts";
import { DriverThread, EINVAL, PAGE_BYTES, type Task, errnoName } from "../../src/driver.ts";
import { AddressSpace } from "../../src/index.ts";
import { inside } from "../inside.ts";
import { Counting, closeCounting, openCounting, registerAgain } from "./counting-notifier.ts";
import type { NotifierOrder } from "./notifier-worker.ts";

async function open(): Promise<{ space: AddressSpace; driver: DriverThread; counting: Counting }> {
  const space = await AddressSpace.create({ ramBytes: 2 ** 20, debug: true });
  const driver = DriverThread.open(space);
  const counting = await driver.runOnSpace(space, (mm) => openCounting(driver.machine, mm));
  if (typeof counting === "number") assert.fail(errnoName(counting));
  return { space, driver, counting };
}

/** Live structs of the driver on the machine of the space. */
function liveOf({ machine }: DriverThread): number {
  return machine.heap.accounting().find(({ name }) => name === "counting")?.live ?? 0;
}

test("it is told before and after each change, and no more once it is unregistered", async () => {
  const { space, driver, counting } = await open();
  const address = await space.mmap(PAGE_BYTES);
  space.u32.store(address, 1);
  const { starts } = counting;
  await space.munmap(address, PAGE_BYTES);
  assert.ok(counting.starts > starts);
  assert.equal(counting.ends, counting.starts);
  const again = (mm: Parameters<typeof registerAgain>[1]): Task<number> =>
    registerAgain(driver.machine, mm, counting);
  assert.equal(await driver.runOnSpace(space, again), EINVAL);
  await driver.run(closeCounting(driver.machine, counting));
  assert.equal(liveOf(driver), 0);
  driver.close();
  await space.dispose();
});

test("it does not keep the space alive, and is told of its end once", async () => {
  const { space, driver, counting } = await open();
  const { mm } = inside(space);
  await space.dispose();
  assert.equal(counting.releases, 1);
  assert.equal(counting.notifier.mm, mm.at);
  await driver.run(closeCounting(driver.machine, counting));
  assert.equal(liveOf(driver), 0);
  driver.close();
});

function start(
  space: AddressSpace,
  hasDriver: boolean,
): { worker: Worker; said: Promise<unknown> } {
  const workerData: NotifierOrder = { handle: space.handle, hasDriver };
  const worker = new Worker(new URL("./notifier-worker.js", import.meta.url), { workerData });
  const said = new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  return { worker, said };
}

test("a thread without its code is refused, with its name", async () => {
  const { space, driver, counting } = await open();
  const { worker, said } = start(space, false);
  assert.match(String(await said), /lacks the code of drivers.*"notifier counting"/);
  await worker.terminate();
  await driver.run(closeCounting(driver.machine, counting));
  const after = start(space, false);
  assert.doesNotMatch(String(await after.said), /lacks the code/);
  await after.worker.terminate();
  driver.close();
  await space.dispose();
});

test("the notifier of a thread that dies is unregistered, and its driver frees it", async () => {
  const space = await AddressSpace.create({ ramBytes: 2 ** 20, debug: true });
  const driver = DriverThread.open(space);
  const { worker, said } = start(space, true);
  assert.equal(await said, "registered");
  assert.equal(liveOf(driver), 1);
  await worker.terminate();
  const endMs = performance.now() + 60_000;
  while (liveOf(driver) > 0) {
    assert.ok(performance.now() < endMs, "the notifier of a dead thread is still there");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const address = await space.mmap(PAGE_BYTES);
  space.u32.store(address, 1);
  await space.munmap(address, PAGE_BYTES);
  driver.close();
  await space.dispose();
});

/** It comes and goes, while another thread discards a page. */
function comesAndGoes(isFreedFirst: boolean): AnyScenario {
  return harnessScenario<undefined>({
    name: "a bare notifier",
    harness: { pages: 1 },
    setup: () => undefined,
    tasks: {
      *driver(_nothing, { machine, mm }) {
        const counting = yield* openCounting(machine, mm);
        if (typeof counting === "number") throw new Error(errnoName(counting));
        if (isFreedFirst) yield* machine.heap.free(Counting, counting.at);
        else yield* closeCounting(machine, counting);
      },
      discard: (_nothing, harness) => harness.discard(HARNESS_PAGE, 1),
    },
  });
}

const BOUNDED = { engine: "bounded", preemptions: 2 } as const;

test("explored: a notifier comes and goes beside a change", () => {
  const { findings, complete } = explore(comesAndGoes(false), BOUNDED);
  assert.deepEqual([findings.map(({ message }) => message), complete], [[], true]);
});

test("explored: freed before it is unregistered, it is used after that", () => {
  const { findings } = explore(comesAndGoes(true), BOUNDED);
  assert.notEqual(findings.length, 0);
});
