/**
 * @module conformance/lifetime-cases
 * Devices and spaces that begin and end: one before the other, and both by themselves or because
 * their thread dies.
 */

import { type SpawnedWorker, spawnWorker } from "../host/spawn-worker.ts";
import {
  DriverThread,
  EFAULT,
  ESRCH,
  PAGE_BYTES,
  type Task,
  errnoName,
  hmmStatistics,
} from "../driver-interface.ts";
import { AddressSpace } from "../space/address-space.ts";
import { type ConformanceCase, demand } from "./demands.ts";
import type { DriverUnderTest } from "./driver-under-test.ts";
import { mapWords, onStage } from "./mapping-cases.ts";
import type { MapperStart } from "./mapper-worker.ts";
import type { OwnerStart } from "./owner-worker.ts";
import {
  type ConformanceOptions,
  Stage,
  accountingOf,
  callbacksOf,
  stopMachine,
  within,
} from "./stage.ts";

const MAPPER_PAGES = 4;
const MAPPER_ROUNDS = 60;

/** Runs `use` on a machine of its own, on which no device is yet. */
async function onSpace(
  use: (driver: DriverThread, space: AddressSpace) => Promise<void>,
): Promise<void> {
  const space = await AddressSpace.create({ ramBytes: 2 ** 23, debug: true });
  const driver = DriverThread.open(space);
  try {
    await use(driver, space);
  } catch (error) {
    await stopMachine(driver, space);
    throw error;
  }
  driver.close();
  await space.dispose();
}

async function leavesNothing(
  subject: DriverUnderTest,
  options: ConformanceOptions,
  driver: DriverThread,
  space: AddressSpace,
): Promise<void> {
  const address = await space.mmap(PAGE_BYTES);
  space.u32.store(address, 1);
  const accounts: string[] = [];
  // What the first device makes for all that come after it stays.
  for (let round = 0; round < 3; round++) {
    const mirror = await driver.runOnSpace(space, (mm) => subject.open(driver.machine, mm));
    demand(typeof mirror !== "number", `the driver opens no device: ${String(mirror)}`);
    const serving = subject.serve === undefined ? undefined : driver.run(subject.serve(mirror));
    const read = async (at: number): Promise<number> =>
      await within(
        driver.run(subject.read(mirror, at, new Uint8Array(4))),
        "a read",
        options.patienceMs,
      );
    const errno = await read(address);
    demand(errno === 0, `a read answers ${errnoName(errno)}`);
    await read(address + 64 * PAGE_BYTES);
    await within(driver.run(subject.close(mirror)), "closing the device", options.patienceMs);
    await serving;
    const statistics = await driver.runOnSpace(space, (mm) => hmmStatistics(driver.machine, mm));
    demand(statistics === undefined, "a closed device still mirrors the space");
    accounts.push(await accountingOf(driver));
  }
  demand(
    accounts[1] === accounts[2],
    `a device leaves something: before ${accounts[1]}, after it ${accounts[2]}`,
  );
}

async function mirrorsFromTheStart(stage: Stage): Promise<void> {
  demand((await stage.ranges()) === 0, "an open device does not mirror the space");
  const address = await mapWords(stage, 1, 5);
  demand(!(await stage.reaches(address)), "the device has a page that nobody asked for");
  await stage.requireWord(address, 5, "after open");
}

async function isToldOnce(stage: Stage): Promise<void> {
  const address = await mapWords(stage, 2, 5);
  await stage.requireWord(address, 5, "at first");
  await stage.space.dispose();
  demand(
    stage.seen.releases === 1,
    `the space has died, and release was called ${stage.seen.releases} times: somebody keeps it`,
  );
  demand(!(await stage.reaches(address)), "the space has died, and the device reaches a page");
  await stage.requireFailure(address, [EFAULT, ESRCH], "when the space has died");
  await stage.closeDevice();
  demand(stage.seen.releases === 1, "release was called again");
}

/** The module of a Worker, for `spawnWorker`. */
function startWorker(url: URL, data: unknown): SpawnedWorker {
  const worker = spawnWorker(url, data);
  worker.unref();
  return worker;
}

/** The next message of the Worker; rejects if it fails. */
function saidBy(worker: SpawnedWorker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    worker.onMessage(resolve);
    worker.onError(reject);
  });
}

async function refusesThreads(stage: Stage): Promise<void> {
  const worker = startWorker(new URL("./bare-worker.js", import.meta.url), stage.space.handle);
  const said = String(await stage.within(saidBy(worker), "a thread without the driver"));
  await worker.terminate();
  demand(
    said.includes("ENODEV") && said.includes(`"${stage.subject.opsName}"`),
    `a thread that has not loaded the driver is answered: ${said}`,
  );
}

/** What a Worker needs to import the driver. */
function modulesOf({ module, exportName = "driverUnderTest" }: DriverUnderTest): {
  module: string;
  exportName: string;
} {
  return { module: String(module), exportName };
}

async function readsBesideMapper(stage: Stage): Promise<void> {
  const { space, subject } = stage;
  const address = await space.mmap(MAPPER_PAGES * PAGE_BYTES);
  const progress = new SharedArrayBuffer(4);
  const rounds = new Int32Array(progress);
  const start: MapperStart = {
    ...modulesOf(subject),
    handle: space.handle,
    address,
    pages: MAPPER_PAGES,
    rounds: MAPPER_ROUNDS,
    progress,
  };
  const worker = startWorker(new URL("./mapper-worker.js", import.meta.url), start);
  const done = saidBy(worker);
  let isOver = false;
  void done.then(() => (isOver = true));
  let reads = 0;
  do {
    const i = reads++ % MAPPER_PAGES;
    // Read plainly: an old value asks for less.
    const begun = rounds[0] ?? 0;
    const { errno, bytes } = await stage.read(address + i * PAGE_BYTES);
    await new Promise((resolve) => setTimeout(resolve, 0));
    if (errno !== 0) continue; // unmapped at the moment, or changed all the time
    const tag = new DataView(bytes.buffer).getUint32(0, true);
    const [page, round] = [(tag >>> 20) - 1, tag & 0xf_ffff];
    demand(
      (tag === 0 && begun < MAPPER_ROUNDS) || (page === i && round >= begun),
      `page ${i} reads the value of page ${page}, round ${round}, when round ${begun} was over`,
    );
    // oxlint-disable-next-line no-unmodified-loop-condition -- the Worker's message changes it
  } while (!isOver);
  const said = await stage.within(done, "the thread that maps");
  demand(said === "done", `the thread that maps says ${String(said)}`);
  for (let i = 0; i < MAPPER_PAGES; i++)
    await stage.requireWord(
      address + i * PAGE_BYTES,
      ((i + 1) << 20) | MAPPER_ROUNDS,
      "at the end",
    );
  await worker.terminate();
}

async function ownerDies(
  subject: DriverUnderTest,
  options: ConformanceOptions,
  driver: DriverThread,
  space: AddressSpace,
): Promise<void> {
  const address = await space.mmap(PAGE_BYTES);
  const accounts: string[] = [];
  for (let round = 0; round < 3; round++) {
    space.u32.store(address, round + 1);
    const start: OwnerStart = { ...modulesOf(subject), handle: space.handle, address };
    const worker = startWorker(new URL("./owner-worker.js", import.meta.url), start);
    const said = await within(saidBy(worker), "a device of another thread", options.patienceMs);
    demand(said === round + 1, `the device of another thread reads ${String(said)}`);
    await worker.terminate();
    await untilGone(driver, space, options.patienceMs ?? 60_000);
    // the machine goes on
    await space.madvise(address, PAGE_BYTES, "dontneed");
    demand(space.u32.load(address) === 0, "a discarded page is not empty");
    accounts.push(await accountingOf(driver));
  }
  demand(
    accounts[1] === accounts[2],
    `a thread that dies leaves something of its device: before ${accounts[1]}, after it ${accounts[2]}`,
  );
}

/** Until a reaper has given back what the dead thread had: nothing mirrors the space then. */
async function untilGone(
  driver: DriverThread,
  space: AddressSpace,
  patienceMs: number,
): Promise<void> {
  const endMs = performance.now() + patienceMs;
  for (;;) {
    const left = await driver.runOnSpace(space, (mm) => hmmStatistics(driver.machine, mm));
    if (left === undefined) return;
    demand(performance.now() < endMs, "the device of a dead thread still mirrors the space");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function theDeadHasNoDevice(stage: Stage): Promise<void> {
  const other = await AddressSpace.create({ ramBytes: 2 ** 20 });
  const { machine, subject } = stage;
  const answer = await stage.driver.runOnSpace(other, function* (mm): Task<unknown> {
    return yield* subject.open(machine, mm);
  });
  demand(typeof answer === "number", "a device is opened on a space of another machine");
  await other.dispose();
}

/** The cases of this module. */
export function lifetimeCases(
  subject: DriverUnderTest,
  options: ConformanceOptions,
): ConformanceCase[] {
  const on = (use: (stage: Stage) => Promise<void>) => (): Promise<void> =>
    onStage(subject, options, use);
  const cases: ConformanceCase[] = [
    {
      name: "mirrors the space from open to close, and nothing before it is asked for",
      demands: ["register-first"],
      run: on(mirrorsFromTheStart),
    },
    {
      name: "leaves nothing when it is closed",
      demands: ["register-first", "unregister-ranges", "errors"],
      run: () => onSpace((driver, space) => leavesNothing(subject, options, driver, space)),
    },
    {
      name: "lets the space die, is told once, and fails from then on",
      demands: ["release-once", "hold-the-mm"],
      run: async () => {
        const stage = await Stage.open(subject, options);
        await stage.during(isToldOnce, () => stage.end());
      },
    },
    {
      name: "is not opened on a space of another machine",
      demands: ["errors"],
      run: on(theDeadHasNoDevice),
    },
    {
      name: "threads that have not loaded the driver are refused, with its name",
      demands: ["must-load"],
      run: on(refusesThreads),
    },
  ];
  if (subject.module === undefined) return cases;
  return [
    ...cases,
    {
      name: "reads nothing that is gone, beside a thread that maps and unmaps",
      demands: ["state-is-shared", "finish-before-return", "recheck"],
      run: on(readsBesideMapper),
    },
    ...(callbacksOf(subject).orphaned === undefined && subject.serve === undefined
      ? []
      : [
          {
            name: "gives back what a device has whose thread dies",
            demands: ["owner-dies"] as const,
            run: () => onSpace((driver, space) => ownerDies(subject, options, driver, space)),
          },
        ]),
  ];
}
