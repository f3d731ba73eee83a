/** @module What a driver's author sees who has made a mistake: each error says what to do. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Errno,
  DriverThread,
  HmmMirror,
  HmmMirrorRecord,
  type HmmMirrorOps,
  type Mm,
  Mutex,
  type Struct,
  type StructView,
  type Task,
  embed,
  embedStruct,
  hmmMirrorRegister,
  registerDeviceMemoryOps,
  registerDriverNotifierOps,
  registerMirrorOps,
  struct,
} from "../../src/driver.ts";
import { AddressSpace, HmmError } from "../../src/index.ts";
import { AssertionFailure } from "../../src/sync/errors.ts";

const PAGE = 4096;

interface Faulty extends StructView {
  readonly mirror: HmmMirrorRecord;
  readonly lock: Mutex;
}

const Faulty: Struct<Faulty> = struct<Faulty>("faulty device", {
  mirror: embedStruct(HmmMirrorRecord, "hmm", "the mirror"),
  lock: embed(Mutex, "nothing", "faultyLock"),
});

function* open(driver: DriverThread, mm: Mm, ops: number): Task<HmmMirror> {
  const { machine } = driver;
  const device = Faulty.at(machine.memory, yield* machine.heap.alloc(Faulty));
  device.lock.init();
  const mirror = new HmmMirror(machine, device.mirror.at);
  mirror.init(ops);
  yield* mm.mmapLock.downWrite();
  const errno = yield* hmmMirrorRegister(mirror, mm);
  yield* mm.mmapLock.upWrite();
  assert.equal(errno, 0);
  return mirror;
}

async function errorOf(run: () => unknown): Promise<Error> {
  try {
    await run();
  } catch (error) {
    assert.ok(error instanceof Error);
    return error;
  }
  throw new Error("it did not fail");
}

test("call-backs that could not be called are refused where they are registered", async () => {
  function* done(): Task<Errno> {
    return 0;
  }
  const mirrors = (ops: unknown) => () => registerMirrorOps("faulty", ops as HmmMirrorOps);
  const attempts: readonly (readonly [() => number, RegExp])[] = [
    [mirrors(undefined), /"faulty": they are undefined; give an object of call-backs/],
    [mirrors({}), /"faulty": invalidate is undefined; give a generator function/],
    [mirrors({ invalidate: 0 }), /invalidate is 0; give a generator function/],
    [mirrors({ invalidate: done, relase: done }), /no call-back "relase"; there are .*release/],
    [mirrors({ invalidate: async () => 0 }), /invalidate is an async function, which nobody/],
    [mirrors({ invalidate: done, release: true }), /release is true; give a generator/],
    [() => registerDriverNotifierOps("faulty", { start: done } as never), /no call-back "start"/],
    [() => registerDeviceMemoryOps("faulty", {} as never), /migrateToRam is undefined; give/],
  ];
  for (const [attempt, message] of attempts) {
    const error = await errorOf(attempt);
    assert.ok(error instanceof AssertionFailure);
    assert.match(error.message, message);
  }
});

const CALL_BACKS: readonly (readonly [what: string, invalidate: unknown, message: RegExp])[] = [
  [
    "throws",
    function* () {
      throw new Error("the driver's own");
    },
    /call-back of driver "faulty device" \(hmm mirror .*reach those pages: Error: the driver's own$/,
  ],
  ["is no generator function", () => 0, /it returned 0, which is no task; make it a generator/],
  [
    "yields what is no wait",
    function* () {
      yield 5;
      return 0;
    },
    /a task yielded 5, which is no wait: call what may wait by yield\*/,
  ],
];

for (const [what, invalidate, message] of CALL_BACKS)
  for (const isSync of [false, true])
    test(`an invalidate that ${what} stops the machine, ${isSync ? "blocking" : "async"}`, async () => {
      const ops = registerMirrorOps("faulty device", { invalidate } as HmmMirrorOps);
      const space = await AddressSpace.create({ ramBytes: 2 ** 22 });
      const address = await space.mmap(PAGE);
      const driver = DriverThread.open(space);
      await driver.runOnSpace(space, (mm) => open(driver, mm, ops));
      const unmap = async (): Promise<void> =>
        isSync ? space.munmapSync(address, PAGE) : await space.munmap(address, PAGE);
      const error = await errorOf(unmap);
      assert.ok(error instanceof HmmError);
      assert.equal(error.code, "ENOTRECOVERABLE");
      assert.match(error.message, message);
      assert.ok(error.cause instanceof Error, "with the call-back's own stack");
      assert.ok(error.message.endsWith(String(error.cause)));
      // Whoever comes next is told, and does not wait for a lock that nobody gives back.
      assert.match((await errorOf(() => space.mmap(PAGE))).message, message);
    });

test("what is no task is refused", async () => {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 22 });
  using driver = DriverThread.open(space);
  const notTask =
    /EINVAL: Cannot run a task of the driver: it is (?:5|a promise); give what the call/;
  const said = async (run: () => unknown): Promise<string> => {
    const error = await errorOf(run);
    return `${(error as HmmError).code}: ${error.message}`;
  };
  const five = 5 as never;
  assert.match(await said(() => driver.run(five)), notTask);
  assert.match(await said(() => driver.runSync(five)), notTask);
  assert.match(await said(() => driver.run(Promise.resolve() as never)), notTask);
  assert.match(await said(() => driver.run(function* () {} as never)), /it is .*; call it/);
  assert.match(await said(() => driver.runOnSpace(space, () => five)), notTask);
  assert.match(await said(() => driver.runOnSpaceSync(space, () => five)), notTask);
  assert.match(await said(() => driver.runOnMemory(space, "read", 0, () => five)), notTask);
});

test("who leaves something behind is told what, and that it is to be given back", async () => {
  function* invalidate(): Task<Errno> {
    return 0;
  }
  const ops = registerMirrorOps("faulty device", { invalidate });
  const space = await AddressSpace.create({ ramBytes: 2 ** 22 });
  const driver = DriverThread.open(space);
  await driver.runOnSpace(space, (mm) => open(driver, mm, ops));
  await space.dispose();
  const { message } = await errorOf(() => driver.close());
  assert.match(message, /leaves while it owns hmm mirror; unregister or free what a driver has/);
});

test("a mirror that was freed while registered is not taken for code that lacks", async () => {
  function* invalidate(): Task<Errno> {
    return 0;
  }
  const ops = registerMirrorOps("faulty device", { invalidate });
  const space = await AddressSpace.create({ ramBytes: 2 ** 22 });
  const address = await space.mmap(PAGE);
  const driver = DriverThread.open(space);
  const mirror = await driver.runOnSpace(space, (mm) => open(driver, mm, ops));
  const at = Faulty.containerOf(mirror.at, "mirror");
  await driver.run(driver.machine.heap.free(Faulty, at));
  const { message } = await errorOf(() => space.munmap(address, PAGE));
  assert.match(message, /no name has that number; what it was read from has been freed/);
});
