/**
 * @module devices/webgpu/dispatch
 * Cuts a dispatch into chunks (chunk.ts): as large as a pass stays short, and as its pages fit.
 * Chunks run one after the other, in the order of their workgroups, which is one of the orders in
 * which WebGPU may run them. Of the device's Worker.
 */

import { type DriverThread, EIO, HmmError, PAGE_BYTES, bug } from "../../driver-interface.ts";
import { ChunkSize } from "./chunk-size.ts";
import type { ChunkOutcome, ChunkRunner } from "./chunk.ts";
import type { ChunkParts } from "./chunk-parts.ts";
import { WebGpuFault } from "./errors.ts";
import type { GpuBound, GpuProgram } from "./gpu.ts";
import type { Answers, DispatchOrder, KernelOrder, WorkerStart } from "./messages.ts";

/** What a dispatch needs of the device that runs it. */
export interface DispatchingDevice {
  readonly driver: DriverThread;
  readonly start: Pick<WorkerStart, "loopRoundsMax" | "loopMsMax">;
  readonly parts: Pick<ChunkParts, "pool">;
  readonly runner: ChunkRunner;
  /** Workgroups run so far. */
  items: number;
  /** The kernel, compiled for the GPU of the moment. */
  program(order: KernelOrder): Promise<GpuProgram>;
  /** Binds what the kernel's own variables need, on the GPU of the moment, ranges included. */
  bind(program: GpuProgram, order: DispatchOrder): Promise<GpuBound | undefined>;
  /** Undoes what `bind` has done for ranges. */
  closeRanges(): void;
  dropShared(): Promise<void>;
  replaceGpu(): Promise<void>;
  publish(): void;
  /** The error of what needs pages that went with a lost GPU. */
  pagesLost(syscall: string): HmmError;
}

/** One of several workgroups that runs out of fuel is cut to fewer when it takes so long. */
const PASS_OF_MANY_MS = 250;
/** Commits of a chunk that may fail before threads that change mappings have to wait for it. */
const STALE_MAX = 3;
/** Devices lost during one dispatch, or one read or write, before it is given up. */
export const LOSSES_MAX = 3;
/** Rounds of loops that each invocation may make at first. */
const FIRST_FUEL: number = 2 ** 14;

/** What is known of a kernel from earlier chunks. */
interface Experience {
  readonly size: ChunkSize;
  fuel: number;
  /**
   * What the pool had lost when it last ran to the end: if it has lost nothing since, its pages are
   * likely to be there yet. -1: it has not.
   */
  lostPages: number;
}

const experiences = new WeakMap<GpuProgram, Experience>();

function experienceOf(program: GpuProgram): Experience {
  let known = experiences.get(program);
  if (known === undefined)
    experiences.set(program, (known = { size: new ChunkSize(), fuel: FIRST_FUEL, lostPages: -1 }));
  return known;
}

export async function runDispatch(
  session: DispatchingDevice,
  order: DispatchOrder,
  isStopped: () => boolean,
): Promise<Answers["dispatch"]> {
  const startMs = performance.now();
  const program = await session.program(order);
  const before = session.runner.counts.passes;
  await session.dropShared();
  const held: Held = { bound: undefined };
  try {
    held.bound = await session.bind(program, order);
    await runChunks(session, program, order, held, isStopped);
  } finally {
    held.bound?.end();
    session.closeRanges();
    await session.dropShared();
  }
  const seconds = (performance.now() - startMs) / 1000;
  return { passes: session.runner.counts.passes - before, seconds };
}

/** What is bound on the GPU of the moment. */
interface Held {
  bound: GpuBound | undefined;
}

async function runChunks(
  session: DispatchingDevice,
  program: GpuProgram,
  order: DispatchOrder,
  held: Held,
  isStopped: () => boolean,
): Promise<void> {
  const { runner, driver, start } = session;
  const { pool } = session.parts;
  const [x, y, z] = order.groups;
  const total = x * y * z;
  const known = experienceOf(program);
  let losses = 0;
  for (let first = 0; first < total;) {
    const end = Math.min(total, first + known.size.workgroups);
    const { groups, args, window } = order;
    const runMs = runner.counts.runMs;
    const passes = runner.counts.passes;
    const outcome = await driver.run(
      runner.run({
        pass: { program, first, end, groups, args, window, bound: held.bound },
        fuel: Math.min(known.fuel, start.loopRoundsMax),
        fuelMax: start.loopRoundsMax,
        passMsMax: end - first > 1 ? PASS_OF_MANY_MS : start.loopMsMax,
        isLikelyResident: first === 0 ? known.lostPages === pool.lostPages : runner.wasResident,
        staleMax: STALE_MAX,
        isStopped,
      }),
    );
    session.publish();
    if (outcome.kind === "done") {
      const passMs = (runner.counts.runMs - runMs) / (runner.counts.passes - passes);
      held.bound?.keep();
      session.items += end - first;
      known.fuel = runner.fuel;
      known.size.grow({
        workgroups: end - first,
        passMs,
        pages: runner.pages,
        usablePages: pool.usable,
      });
      first = end;
    } else if (outcome.kind === "lost") {
      losses++;
      if (losses > LOSSES_MAX) throw lostTooOften(losses, first, total);
      await session.replaceGpu();
      await session.program(order);
      held.bound?.end();
      held.bound = undefined;
      held.bound = await session.bind(program, order);
    } else if (outcome.kind === "too large" && end - first > 1) {
      known.size.refuse(end - first);
    } else if (outcome.kind === "out of fuel" && outcome.isSlow && end - first > 1) {
      known.fuel = runner.fuel;
      known.size.shorten(end - first, outcome.passMs);
    } else throw failureOf(session, order, outcome, first, total);
  }
  known.lostPages = pool.lostPages;
}

function failureOf(
  session: DispatchingDevice,
  { groups, entryPoint }: DispatchOrder,
  outcome: ChunkOutcome,
  committed: number,
  total: number,
): HmmError {
  const done = `${committed} of ${total} workgroups have run`;
  switch (outcome.kind) {
    case "fault":
      if (outcome.errno === EIO) return session.pagesLost("dispatch");
      return faultError(outcome, groups, committed, total);
    case "stopped": {
      const why = `its signal was raised, or the device disposed of (${done})`;
      return new HmmError("ECANCELED", "dispatch", `Cannot finish the dispatch: ${why}`);
    }
    case "space gone": {
      const remedy = "keep an AddressSpace object for it until the device is done";
      const why = `the device's address space is gone (${done}); ${remedy}`;
      return new HmmError("ESRCH", "dispatch", `Cannot run kernel "${entryPoint}": ${why}`);
    }
    case "out of fuel": {
      const { rounds, passMs, isSlow } = outcome;
      const within = isSlow ? ` in ${(passMs / 1000).toFixed(1)} s` : "";
      const why = `an invocation made more than ${rounds} rounds of its loops${within} (${done})`;
      const remedy = `let it end, or give the device a larger ${isSlow ? "loopMsMax" : "loopRoundsMax"}`;
      const text = `Cannot finish the dispatch: ${why}; ${remedy}`;
      return new HmmError("ETIMEDOUT", "dispatch", text);
    }
    case "disturbed": {
      const why = `this thread itself has kept changing pages that it stores to (${done})`;
      const remedy = "await the dispatch before, or let the device have a Worker";
      const text = `Cannot finish the dispatch: ${why}; ${remedy}`;
      return new HmmError("EDEADLK", "dispatch", text);
    }
    case "too large": {
      const bytes = outcome.pages * PAGE_BYTES;
      const has = session.parts.pool.usable * PAGE_BYTES;
      const why = `it uses ${bytes} bytes of pages or more, and the device has ${has} (${done})`;
      const text = `Cannot run workgroup ${committed}: ${why}; give the device more memoryBytes`;
      return new HmmError("ENOMEM", "dispatch", text);
    }
    case "unnamed miss": {
      const why = `the GPU misses a page, and does not say which (${done})`;
      const text = `Cannot finish the dispatch: ${why}; check the graphics driver`;
      return new HmmError("EIO", "dispatch", text);
    }
    default:
      return bug(`Cannot say why a dispatch has failed: its chunk is ${outcome.kind}`);
  }
}

function faultError(
  { errno, fault, isIntoRange = false }: ChunkOutcome & { readonly kind: "fault" },
  [x, y]: readonly [number, number, number],
  committedWorkgroups: number,
  workgroups: number,
): WebGpuFault {
  const { address, exactAddress, isWrite, workgroup } = fault;
  const row = Math.floor(workgroup / x);
  const reason = isIntoRange ? INTO_RANGE : address % 4 === 0 ? undefined : MISALIGNED;
  return new WebGpuFault({
    ...(reason === undefined ? {} : { reason }),
    ...(exactAddress === undefined ? {} : { exactAddress }),
    errno,
    address,
    access: isWrite ? "write" : "read",
    item: workgroup,
    workgroup: [workgroup % x, row % y, Math.floor(row / y)],
    committedWorkgroups,
    workgroups,
  });
}

const INTO_RANGE =
  "it lies in a direct range of the dispatch, which no pointer reaches; use the range's variable";
const MISALIGNED = "it is no multiple of 4; pointers of kernels mean whole words";

function lostTooOften(losses: number, committed: number, total: number): HmmError {
  const why = `the GPU was lost ${losses} times (${committed} of ${total} workgroups have run)`;
  const text = `Cannot finish the dispatch: ${why}; check the graphics driver`;
  return new HmmError("ENODEV", "dispatch", text);
}
