/**
 * @module Device threads that end at any moment: terminated while they run, fault, serve faults or
 * idle. Each time the dispatch ends with a clear error, nobody hangs, the device can be disposed
 * of, and unless the thread died inside a critical section, which stops the machine with an error
 * that says so, the address space goes on and nothing is left of the device.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { type AddressSpace, HmmError, SoftwareDevice } from "../../src/index.ts";
import { probeAgents } from "../../src/sync/runners/agents.ts";
import type { Ownership } from "./owner-worker.ts";
import type { Doom } from "./doomed-worker.ts";
import { MIB, PAGE, PlayedDevice, makeSpace, stampPages, withSpace } from "./harness.ts";
import { inside } from "../inside.ts";
import { diceOf } from "../dice.ts";

const module = new URL("./kernels.js", import.meta.url);
const PAGES = 64;
const ROUNDS = Number(process.env["HMM_DEATH_ROUNDS"] ?? 25);

/** The Workers that `start` has started. */
async function startedBy<T>(start: () => Promise<T>): Promise<{ result: T; workers: Worker[] }> {
  const workers: Worker[] = [];
  const onWorker = (worker: Worker): void => void workers.push(worker);
  process.on("worker", onWorker);
  try {
    return { result: await start(), workers };
  } finally {
    process.off("worker", onWorker);
  }
}

function deviceNames(space: AddressSpace): string[] {
  const names = inside(space)
    .machine.heap.accounting()
    .map(({ name }) => name);
  return names.filter((name) => /softwareDevice|hmmRange/.test(name));
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** One device, one dispatch, one death. Returns whether the machine has stopped by it. */
async function round(
  space: AddressSpace,
  data: number,
  sums: number,
  random: (below: number) => number,
): Promise<boolean> {
  const { result: device, workers } = await startedBy(() =>
    SoftwareDevice.create(space, { memoryBytes: (1 + random(16)) * PAGE, threads: 2 }),
  );
  const kernel = device.kernel({ module, exportName: "sum", mayReplay: random(2) === 0 });
  const dispatch = kernel
    .dispatch(200_000, { args: [data, sums, PAGES, 6] })
    .catch((error: unknown) => error);
  await pause(random(30));
  // The CPU's stores keep invalidations coming, in which a device thread may be waited for.
  for (let i = random(50); i > 0; i--) space.u32.store(data + random(PAGES) * PAGE, i);
  await workers[random(2)]?.terminate();
  const outcome = await dispatch;
  let hasStopped = false;
  if (outcome instanceof HmmError) {
    assert.match(outcome.code, /^(ENODEV|EOWNERDEAD|ECANCELED)$/, outcome.message);
    hasStopped = outcome.code === "EOWNERDEAD";
  }
  await device[Symbol.asyncDispose]();
  try {
    space.u32.store(data, 1);
    space.mprotectSync(data, PAGE, "read");
    space.mprotectSync(data, PAGE, "read-write");
  } catch (error) {
    assert.ok(error instanceof HmmError && error.code === "EOWNERDEAD", String(error));
    hasStopped = true;
  }
  // What the dead thread owned is given back in the background.
  if (hasStopped) return true;
  for (let tries = 0; deviceNames(space).length > 0 && tries < 500; tries++) await pause(2);
  assert.deepEqual(deviceNames(space), []);
  return false;
}

test(`${ROUNDS} device threads terminated at random moments`, async () => {
  const seed = Date.now() & 0x7fffffff;
  console.log(`seed ${seed}`);
  const random = diceOf(seed);
  let stops = 0;
  for (let done = 0; done < ROUNDS;) {
    const space = makeSpace({ debug: false, ramBytes: 8 * MIB });
    const data = space.mmapSync(PAGES * PAGE);
    const sums = space.mmapSync(200 * PAGE);
    stampPages(space, data, PAGES);
    let hasStopped = false;
    for (; done < ROUNDS && !hasStopped; done++)
      hasStopped = await round(space, data, sums, random);
    if (hasStopped) stops++;
    await space.dispose();
  }
  console.log(`${ROUNDS} deaths, ${stops} of them inside a critical section`);
});

/** Lets a thread become the service owner and take two frames, and ends it there. */
async function doom(
  space: AddressSpace,
  recordAt: number,
  holdsDriverLock: boolean,
): Promise<void> {
  const { machine, machineId } = space.handle;
  const workerData: Doom = { machine, machineId, recordAt, holdsDriverLock };
  const worker = new Worker(new URL("./doomed-worker.js", import.meta.url), { workerData });
  await new Promise((resolve) => void worker.once("message", resolve));
  await worker.terminate();
}

test("a thread that dies while it serves faults is replaced, and its frames are freed, by a reaper", () =>
  withSpace(async (space) => {
    const data = space.mmapSync(8 * PAGE);
    stampPages(space, data, 8, 20);
    const device = new PlayedDevice(space, { frames: 3 });
    await doom(space, device.record.at, false);
    assert.equal(device.load(data), 20, "the device has a service owner again");
    for (let i = 0; i < 8; i++) assert.equal(device.load(data + i * PAGE), 20 + i);
    assert.equal(device.stats.residentPages, 3, "so did its frames");
    device.close();
  }));

test("a device whose owner dies goes with it, its threads too, and the space forgets it", async () => {
  for (let i = 0; i < 3; i++) {
    const space = makeSpace({ debug: false });
    const pages = 4;
    const counters = space.mmapSync(pages * PAGE);
    const workerData: Ownership = { handle: space.handle, counters, pages };
    const owner = new Worker(new URL("./owner-worker.js", import.meta.url), { workerData });
    await new Promise((resolve) => void owner.once("message", resolve));
    assert.equal(deviceNames(space).includes("softwareDevice"), true);
    await owner.terminate();
    let hasStopped = false;
    try {
      for (let tries = 0; deviceNames(space).length > 0 && tries < 500; tries++) {
        await pause(2);
        // Nobody here waits for anything, so nobody would look for the deaths of threads that
        // another one had started.
        probeAgents(inside(space).machine.memory);
        // Invalidations while the dead owner's mirror may still be there.
        space.mprotectSync(counters, PAGE, tries % 2 === 0 ? "read" : "read-write");
      }
      assert.deepEqual(deviceNames(space), []);
      space.mprotectSync(counters, PAGE, "read-write");
      space.u32.store(counters, 1);
      assert.equal(space.u32.load(counters), 1);
    } catch (error) {
      // One of the three threads may have died inside a critical section.
      assert.ok(error instanceof HmmError && error.code === "EOWNERDEAD", String(error));
      hasStopped = true;
    }
    if (hasStopped) console.log("the machine has stopped");
    await space.dispose();
  }
});

test("a thread that dies with the driver lock stops nobody: the device learns everything again", () =>
  withSpace(async (space) => {
    const data = space.mmapSync(8 * PAGE);
    stampPages(space, data, 8, 20);
    const device = new PlayedDevice(space, { frames: 3 });
    assert.equal(device.load(data), 20); // two frames are left for the thread that dies
    await doom(space, device.record.at, true);
    for (let i = 0; i < 8; i++) assert.equal(device.load(data + i * PAGE), 20 + i);
    assert.equal(device.stats.residentPages, 3, "no frame is lost");
    space.u32.store(data + 7 * PAGE, 5);
    assert.equal(device.load(data + 7 * PAGE), 5);
    device.close();
  }));
