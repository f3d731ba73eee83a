/**
 * @module A driver made of hmm-ts/driver alone, on a real AddressSpace: it serves its card beside a
 * Worker that unmaps, is told when the space dies, and leaves nothing.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import {
  DriverThread,
  type DriverHandle,
  EBUSY,
  EFAULT,
  EINVAL,
  PAGE_BYTES,
  errnoName,
  hmmStatistics,
  missingMirrorOps,
} from "../../src/driver.ts";
import { AddressSpace } from "../../src/index.ts";
import { CARD_PAGES, PretendCard } from "./pretend-card.ts";
import { type UnmapRequest, pageOfTag, tagOf } from "./unmap-worker.ts";

interface Place {
  readonly space: AddressSpace;
  readonly address: number;
  readonly driver: DriverThread;
  readonly card: PretendCard;
}

async function open(): Promise<Place> {
  const space = await AddressSpace.create({ ramBytes: 2 ** 22, debug: true });
  const address = await space.mmap(CARD_PAGES * PAGE_BYTES);
  for (let i = 0; i < CARD_PAGES; i++) space.u32.store(address + i * PAGE_BYTES, tagOf(i, 0));
  const driver = DriverThread.open(space);
  const card = await driver.runOnSpace(space, (mm) =>
    PretendCard.open(driver.machine, mm, address / PAGE_BYTES),
  );
  if (typeof card === "number") assert.fail(errnoName(card));
  return { space, address, driver, card };
}

async function close({ space, driver, card }: Place): Promise<void> {
  await driver.run(card.close());
  driver.close();
  await space.dispose();
}

function startWorker({ space, address }: Place, rounds: number, hasDriver: boolean): Worker {
  const workerData: UnmapRequest = {
    handle: space.handle,
    address,
    pages: CARD_PAGES,
    rounds,
    hasDriver,
  };
  return new Worker(new URL("./unmap-worker.js", import.meta.url), { workerData });
}

/** What the Worker says. */
function saidBy(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

test("a job reads what the CPU has stored, and maps nothing for longer than itself", async () => {
  const place = await open();
  const { space, address, driver, card } = place;
  const values = new Uint32Array(CARD_PAGES);
  assert.equal(await driver.run(card.read(values)), 0);
  assert.deepEqual(
    [...values],
    Array.from(values, (_, i) => tagOf(i, 0)),
  );
  assert.equal(card.mapped.size, 0);
  assert.equal(driver.runSync(card.read(values)), 0, "blocking as well");
  await space.munmap(address + PAGE_BYTES, PAGE_BYTES);
  assert.equal(errnoName(await driver.run(card.read(values))), errnoName(EFAULT));
  assert.equal(card.mapped.size, 0, "nor after an error");
  await close(place);
});

test("no job reads a page's frame after a Worker has unmapped the page", async () => {
  const place = await open();
  const { space, driver, card } = place;
  const rounds = 40;
  const said = saidBy(startWorker(place, rounds, true));
  const values = new Uint32Array(CARD_PAGES);
  let isOver = false;
  void said.then(() => (isOver = true));
  do {
    const errno = await driver.run(card.read(values));
    assert.ok([0, EFAULT, EBUSY].includes(errno), errnoName(errno));
    // of a job that failed, pages may hold what an earlier job has read: of the same page
    for (const [i, value] of values.entries())
      assert.ok(value === 0 || pageOfTag(value) === i + 1, `page ${i} reads ${value}`);
    await new Promise(setImmediate);
    // oxlint-disable-next-line no-unmodified-loop-condition -- the Worker's message changes it
  } while (!isOver);
  assert.equal(await said, "done");
  assert.equal(await driver.run(card.read(values)), 0);
  assert.deepEqual(
    [...values],
    Array.from(values, (_, i) => tagOf(i, rounds - 1)),
  );
  const statistics = await driver.runOnSpace(space, (mm) => hmmStatistics(driver.machine, mm));
  assert.ok(statistics !== undefined);
  const { ranges, notifiers, mirrorErrors, starts } = statistics;
  assert.deepEqual(
    { ranges, notifiers, mirrorErrors },
    { ranges: 0, notifiers: 0, mirrorErrors: 0 },
  );
  assert.ok(starts >= rounds * CARD_PAGES, "each munmap was an invalidation");
  await close(place);
});

test("a thread without the driver's module is refused with the driver's name", async () => {
  const place = await open();
  assert.deepEqual(await place.driver.run(missingMirrorOps(place.driver.machine)), []);
  assert.match(
    String(await saidBy(startWorker(place, 1, false))),
    /lacks the code of drivers.*"pretend card"/,
  );
  await close(place);
});

test("the driver keeps its thread on the machine, and the space dies all the same", async () => {
  const { space, driver, card } = await open();
  await space.dispose();
  assert.equal(card.record.releases, 1, "release is called once");
  const values = new Uint32Array(CARD_PAGES);
  assert.equal(errnoName(await driver.run(card.read(values))), errnoName(EFAULT));
  await assert.rejects(
    driver.runOnSpace(space, () => card.close()),
    { code: "EBADF" },
  );
  await driver.run(card.close());
  driver.close();
  driver.close();
  await assert.rejects(driver.run(card.close()), { code: "EBADF", message: /open another/ });
});

test("a mirror cannot be put on a space of another machine", async () => {
  const place = await open();
  await using other = await AddressSpace.create({ ramBytes: 2 ** 20 });
  const answer = await place.driver.runOnSpace(other, (mm) =>
    PretendCard.open(place.driver.machine, mm, 0),
  );
  assert.equal(answer, EINVAL);
  await close(place);
});

test("a driver's handle leads another thread to the machine, and nothing else does", async () => {
  const place = await open();
  const { driver } = place;
  const again = DriverThread.attach(driver.handle);
  assert.equal(again.machine, driver.machine, "one thread has one place on a machine");
  again.adopt(driver.handle);
  for (const wrong of [undefined, 7, {}, place.space.handle, { ...driver.handle, version: 2 }])
    assert.throws(() => DriverThread.attach(wrong as DriverHandle), { code: "EINVAL" });
  await using other = await AddressSpace.create({ ramBytes: 2 ** 20 });
  using elsewhere = DriverThread.open(other);
  assert.throws(() => again.adopt(elsewhere.handle), {
    code: "EINVAL",
    message: /another machine/,
  });
  again.close();
  assert.throws(() => again.handle, { code: "EBADF" });
  assert.throws(() => again.adopt(driver.handle), { code: "EBADF" });
  assert.throws(() => DriverThread.open({} as AddressSpace), {
    code: "EINVAL",
    message: /give what AddressSpace.create/,
  });
  await close(place);
});
