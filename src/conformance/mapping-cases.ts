/**
 * @module conformance/mapping-cases
 * A device beside a CPU that changes mappings, in one thread.
 */

import {
  Completion,
  EAGAIN,
  EBUSY,
  EFAULT,
  ENOMEM,
  EPERM,
  EVENT_CLEAR,
  PAGE_BYTES,
  type Struct,
  type StructView,
  type Task,
  embed,
  errnoName,
  struct,
} from "../driver-interface.ts";
import { invalidateRange } from "../notifier/events.ts";
import { type ConformanceCase, demand } from "./demands.ts";
import type { DriverUnderTest } from "./driver-under-test.ts";
import { type ConformanceOptions, Stage, callbacksOf } from "./stage.ts";

/** Runs `use` on a stage of its own, and ends that. */
export async function onStage(
  subject: DriverUnderTest,
  options: ConformanceOptions,
  use: (stage: Stage) => Promise<void>,
): Promise<void> {
  const stage = await Stage.open(subject, options);
  await stage.during(use, () => stage.close());
}

/** Pages that begin with the words `first`, `first` + 1, and so on. */
export async function mapWords({ space }: Stage, pages: number, first: number): Promise<number> {
  const address = await space.mmap(pages * PAGE_BYTES);
  for (let i = 0; i < pages; i++) space.u32.store(address + i * PAGE_BYTES, first + i);
  return address;
}

/** A lock's holder waits here until the test lets it go. */
interface Gate extends StructView {
  readonly opened: Completion;
}
const Gate: Struct<Gate> = struct<Gate>("conformanceGate", {
  opened: embed(Completion, "the holder may let go"),
});

/** Runs `use` while a task holds the driver lock. */
async function holdingLock(stage: Stage, use: () => Promise<void>): Promise<void> {
  const { machine, subject, mirror, driver } = stage;
  const at = await driver.run(machine.heap.alloc(Gate));
  demand(at !== 0, `the heap has no room: ${errnoName(ENOMEM)}`);
  const gate = Gate.at(machine.memory, at);
  gate.opened.init();
  const lock = subject.driverLock(mirror);
  const holding = driver.run(
    (function* (): Task<void> {
      yield* lock.lock();
      yield* gate.opened.wait();
      yield* lock.unlock();
    })(),
  );
  try {
    await use();
  } finally {
    await driver.run(gate.opened.complete());
    await holding;
    await driver.run(machine.heap.free(Gate, at));
  }
}

/** What the promise settled with; undefined when it waits for something. */
async function settled<T>(promise: Promise<T>): Promise<T | undefined> {
  const turns = async (): Promise<undefined> => {
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setTimeout(resolve, 0));
    return undefined;
  };
  return await Promise.race([promise, turns()]);
}

async function answersEagain(stage: Stage): Promise<void> {
  const { subject, mirror, driver, space } = stage;
  const address = await mapWords(stage, 1, 7);
  await stage.requireWord(address, 7, "at first");
  const page = address / PAGE_BYTES;
  const call = async (): Promise<number> =>
    await driver.runOnSpace(space, (mm) =>
      callbacksOf(subject).invalidate(
        mirror,
        invalidateRange(mm, page, page + 1, EVENT_CLEAR, { blockable: false }),
      ),
    );
  const reached = await stage.reaches(address);
  let late: Promise<number> | undefined;
  let answer: number | undefined;
  await holdingLock(stage, async () => {
    late = call();
    answer = await settled(late);
  });
  await late;
  demand(answer !== undefined, "invalidate waits for the driver lock, and may not block");
  demand(
    answer === EAGAIN || answer === 0,
    `invalidate answers ${errnoName(answer)} where it may not block`,
  );
  if (answer === EAGAIN)
    demand(
      (await stage.reaches(address)) === reached,
      "invalidate answers EAGAIN, and has cleared a translation",
    );
  else demand(!(await stage.reaches(address)), "invalidate answers 0, and the device reaches on");
  await stage.requireWord(address, 7, "afterwards");
}

async function cannotReachOn(stage: Stage): Promise<void> {
  const { space } = stage;
  const address = await mapWords(stage, 3, 20);
  for (let i = 0; i < 3; i++) await stage.requireWord(address + i * PAGE_BYTES, 20 + i, "at first");
  await space.madvise(address, PAGE_BYTES, "dontneed");
  demand(!(await stage.reaches(address)), "the device reaches a page that was discarded");
  await stage.requireWord(address, 0, "of a page that was discarded");
  await space.munmap(address + PAGE_BYTES, PAGE_BYTES);
  demand(!(await stage.reaches(address + PAGE_BYTES)), "the device reaches an unmapped page");
  await stage.requireFailure(address + PAGE_BYTES, [EFAULT], "of an unmapped page");
  await space.mprotect(address + 2 * PAGE_BYTES, PAGE_BYTES, "none");
  const { errno } = await stage.read(address + 2 * PAGE_BYTES);
  demand(
    errno === EFAULT || errno === EPERM,
    `of a page without rights a read answers ${errnoName(errno)}, not EFAULT or EPERM`,
  );
  await stage.requireWord(address, 0, "after failed reads");
  demand((await stage.ranges()) === 0, "after failed reads a range is still registered");
}

async function seesNewContents(stage: Stage): Promise<void> {
  const { space } = stage;
  const address = await mapWords(stage, 1, 1);
  for (let round = 1; round < 20; round++) {
    await stage.requireWord(address, round, `in round ${round}`);
    if (round % 3 === 0) {
      await space.munmap(address, PAGE_BYTES);
      await space.mmap(PAGE_BYTES, { address, fixed: "noreplace" });
    } else if (round % 3 === 1) await space.madvise(address, PAGE_BYTES, "dontneed");
    space.u32.store(address, round + 1);
  }
  using child = await space.fork();
  space.u32.store(address, 100);
  await stage.requireWord(address, 100, "after a fork and a store");
  demand(child.u32.load(address) === 20, "the child of a fork sees a store of its parent");
}

async function storesWhereItMay(stage: Stage): Promise<void> {
  const { space, subject, mirror } = stage;
  const address = await mapWords(stage, 2, 5);
  const from = new Uint8Array([9, 0, 0, 0]);
  const write = async (at: number): Promise<number> =>
    subject.write === undefined ? 0 : await stage.run(subject.write(mirror, at, from), "a write");
  // its entry is for reading: a store needs another
  await stage.requireWord(address, 5, "at first");
  using child = await space.fork();
  await stage.requireWord(address, 5, "after a fork");
  demand((await write(address)) === 0, "a write fails where it may be written");
  demand(space.u32.load(address) === 9, "the CPU does not see what the device has stored");
  demand(child.u32.load(address) === 5, "a store of the device changes a page of a fork");
  await space.mprotect(address, PAGE_BYTES, "read");
  const errno = await write(address);
  demand(errno === EPERM, `a write where it may not answers ${errnoName(errno)}, not EPERM`);
  demand(space.u32.load(address) === 9, "a write that was refused has changed the page");
  demand((await write(address + PAGE_BYTES)) === 0, "after a refused write another fails");
  demand((await stage.ranges()) === 0, "after a refused write a range is still registered");
}

async function keepsNoFrame(stage: Stage): Promise<void> {
  const { space, machine } = stage;
  const address = await mapWords(stage, 4, 1);
  for (let i = 0; i < 4; i++) await stage.word(address + i * PAGE_BYTES);
  const { references, pins } = machine.ram.refs.total();
  const counts = `${references} references and ${pins} pins`;
  const { residentBytes } = await space.stats();
  demand(
    references <= residentBytes / PAGE_BYTES && pins === 0,
    `with 4 pages mapped on the device there are ${counts} of frames; the device must not have any`,
  );
  await space.munmap(address, 4 * PAGE_BYTES);
  demand(machine.ram.refs.total().references === 0, "a frame of an unmapped page is still used");
}

async function waitsForSources(stage: Stage): Promise<void> {
  const { space } = stage;
  let open = (): void => {};
  let ask = (): void => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  const asked = new Promise<void>((resolve) => (ask = resolve));
  const source = {
    lengthBytes: PAGE_BYTES,
    async read(_offsetBytes: number, into: Uint8Array): Promise<void> {
      ask();
      await opened;
      into.fill(7);
    },
  };
  const address = await space.mmap(PAGE_BYTES, { source });
  const reading = stage.read(address);
  await stage.within(Promise.race([asked, reading]), "until the device's fault asks the source");
  // needs the mmap lock for writing
  const other = await stage.within(space.mmap(PAGE_BYTES), "an mmap while a source is read");
  open();
  const { errno, bytes } = await reading;
  demand(errno === 0, `a read of a page of a source answers ${errnoName(errno)}`);
  demand(bytes[0] === 7, "the device reads something else than the source gave");
  await space.munmap(other, PAGE_BYTES);
}

async function givesUp(stage: Stage): Promise<void> {
  const address = await mapWords(stage, 1, 3);
  const view = await stage.space.view(address, PAGE_BYTES, "write");
  await stage.requireFailure(address, [EBUSY], "while a write view is open");
  view.as(Uint32Array)[0] = 4;
  await view[Symbol.asyncDispose]();
  await stage.requireWord(address, 4, "after the view");
  demand((await stage.ranges()) === 0, "after EBUSY a range is still registered");
}

/** The cases of this module. */
export function mappingCases(
  subject: DriverUnderTest,
  options: ConformanceOptions,
): ConformanceCase[] {
  const on = (use: (stage: Stage) => Promise<void>) => (): Promise<void> =>
    onStage(subject, options, use);
  return [
    {
      name: "reads pages as the CPU does, touched before or not",
      demands: ["generic-fault"],
      run: on(async (stage) => {
        const address = await mapWords(stage, 2, 11);
        await stage.requireWord(address + PAGE_BYTES, 12, "of a page that the CPU has touched");
        const fresh = await stage.space.mmap(PAGE_BYTES);
        await stage.requireWord(fresh, 0, "of a page that nobody has touched");
        const { errno, bytes } = await stage.read(address + PAGE_BYTES - 2, 4);
        demand(errno === 0 && bytes[2] === 12, "a read across two pages goes wrong");
      }),
    },
    {
      name: "cannot reach a page on when its mapping has changed",
      demands: ["finish-before-return", "errors", "unregister-ranges"],
      run: on(cannotReachOn),
    },
    {
      name: "sees what the CPU has stored, after each kind of change",
      demands: ["finish-before-return", "state-is-shared"],
      run: on(seesNewContents),
    },
    {
      name: "answers EAGAIN where it may not block, and has changed nothing",
      demands: ["eagain"],
      run: on(answersEagain),
    },
    {
      name: "keeps no reference of a frame",
      demands: ["no-references"],
      run: on(keepsNoFrame),
    },
    {
      name: "waits for a page of a source without holding the mmap lock",
      demands: ["fault-unlocked"],
      run: on(waitsForSources),
    },
    {
      name: "gives up with EBUSY while a write view is open, and goes on after it",
      demands: ["bounded", "unregister-ranges"],
      run: on(givesUp),
    },
    ...(subject.write === undefined
      ? []
      : [
          {
            name: "stores where it may, and breaks copy-on-write as the CPU does",
            demands: ["request", "errors", "unregister-ranges"] as const,
            run: on(storesWhereItMay),
          },
        ]),
  ];
}
