/**
 * @module What the scenarios of the space layer share. They run the operations of an address space
 * as its objects do, on a harness, each task with a seat of its own, as threads have. Only what
 * needs a host is missing: messages, exits, the event loop.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { DriverCode } from "../../../../src/hmm/mirror/mirror-ops.ts";
import type { Machine } from "../../../../src/memory/machine.ts";
import { MAP_ANYWHERE, MAP_FIXED_REPLACE } from "../../../../src/mm/calls/mmap.ts";
import type { MmapRequest } from "../../../../src/mm/calls/mmap.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import type { Seat } from "../../../../src/space/machine-seat.ts";
import { SpaceHold, enlistSpace, holdSpace } from "../../../../src/space/space-hold.ts";
import { createSpaceTable } from "../../../../src/space/space-table.ts";
import type { SpaceTable } from "../../../../src/space/space-table.ts";
import { Sources } from "../../../../src/space/sources.ts";
import { UserBuffers } from "../../../../src/space/user-buffers.ts";
import { selectAgent } from "../../../../src/sync/runners/agents.ts";
import { HmmError } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";

/** Two threads' holds on the harness's address space. */
export interface Stage {
  readonly table: SpaceTable;
  /**
   * By task. The space goes with the last. Made anew for each execution, each on a seat of its
   * own, for a seat knows which buffers its thread has mapped.
   */
  holds: readonly [SpaceHold, SpaceHold];
  /** Two buffers of the user's, of one page and room for another; new ones for each execution. */
  buffers: readonly [SharedArrayBuffer, SharedArrayBuffer];
}

export type Body = (stage: Stage, harness: HmmHarness) => Task<unknown>;

/** The sources of a thread without a host. Each task that shall serve one is kept in `serving`. */
export function makeSources(
  machine: Machine,
  serving: Task<void>[] = [],
  use: () => void = () => {},
): Sources {
  return new Sources(machine, {
    use,
    drop: () => {},
    runServing(task) {
      serving.push(task);
      return new Promise(() => {});
    },
  });
}

/** A thread's seat without a host: no message arrives, and the thread never leaves. */
export function makeSeat(
  machine: Machine,
  table: SpaceTable,
  sources: Sources = makeSources(machine),
): Seat {
  return {
    driverCode: new DriverCode(machine, 0), // all tasks are of one thread
    machine,
    table,
    buffers: new UserBuffers(machine),
    sources,
    drop: () => {},
    awaitSection: () => Promise.resolve(false),
  };
}

/** The hold that `open` makes, as agent `agentId`. */
export function holdAs(
  harness: HmmHarness,
  agentId: number,
  open: Task<SpaceHold | number>,
): SpaceHold {
  const { memory } = harness.machine;
  const self = memory.agentId;
  selectAgent(memory, agentId);
  const hold = harness.run(open);
  selectAgent(memory, self);
  if (typeof hold === "number") throw new Error(`Cannot hold the space: ${hold}`);
  return hold;
}

export function makeBuffer(): SharedArrayBuffer {
  return new SharedArrayBuffer(PAGE_BYTES, { maxByteLength: 2 * PAGE_BYTES });
}

/** In the set-up of two tasks. The harness's own user of the space becomes the first task's. */
export function makeStage(harness: HmmHarness): Stage {
  const { machine, mm } = harness;
  const table = harness.run(createSpaceTable(machine, Uint32Array.of(1, 2)));
  const seat = makeSeat(machine, table);
  const first = holdAs(harness, 1, enlistSpace(seat, mm.at));
  const second = holdAs(harness, 2, holdSpace(seat, first.place.number));
  return { table, holds: [first, second], buffers: [makeBuffer(), makeBuffer()] };
}

/** In the set-up of one task: nobody else holds the space. */
export function makeStageForOne(harness: HmmHarness): Stage {
  const table = harness.run(createSpaceTable(harness.machine, Uint32Array.of(1, 2)));
  const only = holdAs(harness, 1, enlistSpace(makeSeat(harness.machine, table), harness.mm.at));
  return { table, holds: [only, only], buffers: [makeBuffer(), makeBuffer()] };
}

/** Before each execution. */
export function reopenStage(stage: Stage, { machine }: HmmHarness): void {
  const again = ({ place }: SpaceHold): SpaceHold =>
    new SpaceHold(makeSeat(machine, stage.table), place);
  const [first, second] = stage.holds;
  stage.holds = [again(first), again(second)];
  stage.buffers = [makeBuffer(), makeBuffer()];
}

/** A request for shared memory: at `address`, in place of what is there, or anywhere for 0. */
export function mapping(pages: number, address: number = 0, offsetPages: number = 0): MmapRequest {
  return {
    lengthBytes: pages * PAGE_BYTES,
    address,
    placement: address === 0 ? MAP_ANYWHERE : MAP_FIXED_REPLACE,
    protection: VM_READ | VM_WRITE,
    shared: true,
    bufferPfn: 0,
    offsetPages,
  };
}

/** The code of the error that the task ends with, or "". */
export function* codeOf(task: Task<unknown>): Task<string> {
  try {
    yield* task;
    return "";
  } catch (error) {
    if (error instanceof HmmError) return error.code;
    throw error;
  }
}
