/**
 * @module A driver that has nothing but a bare notifier: it counts what it is told, in shared
 * memory.
 */

import {
  DriverNotifier,
  ENOMEM,
  type Errno,
  type Machine,
  type Mm,
  type Struct,
  type StructView,
  type Task,
  driverNotifierRegister,
  driverNotifierUnregister,
  embedStruct,
  registerDriverNotifierOps,
  struct,
  u32,
} from "../../src/driver.ts";

export interface Counting extends StructView {
  readonly notifier: DriverNotifier;
  starts: number;
  ends: number;
  releases: number;
}

export const Counting: Struct<Counting> = struct<Counting>("counting", {
  notifier: embedStruct(DriverNotifier, "hmm", "the notifier"),
  starts: u32("none: tests are alone", "starts"),
  ends: u32("none: tests are alone", "ends"),
  releases: u32("none: tests are alone", "releases"),
});

const countingOf = ({ memory }: Machine, notifier: number): Counting =>
  Counting.at(memory, Counting.containerOf(notifier, "notifier"));

const OPS = registerDriverNotifierOps("counting", {
  *invalidateRangeStart(machine, notifier): Task<Errno> {
    countingOf(machine, notifier).starts++;
    return 0;
  },
  *invalidateRangeEnd(machine, notifier): Task<void> {
    countingOf(machine, notifier).ends++;
  },
  *release(machine, notifier): Task<void> {
    countingOf(machine, notifier).releases++;
  },
  *orphaned(machine, notifier): Task<void> {
    yield* machine.heap.free(Counting, countingOf(machine, notifier).at);
  },
});

/** Registered on `mm`, of which the caller has a user. */
export function* openCounting(machine: Machine, mm: Mm): Task<Counting | Errno> {
  const at = yield* machine.heap.alloc(Counting);
  if (at === 0) return ENOMEM;
  const counting = Counting.at(machine.memory, at);
  yield* mm.mmapLock.downWrite();
  const errno = yield* driverNotifierRegister(machine, mm, counting.notifier, OPS);
  yield* mm.mmapLock.upWrite();
  if (errno === 0) return counting;
  yield* machine.heap.free(Counting, at);
  return errno;
}

export function* closeCounting(machine: Machine, counting: Counting): Task<void> {
  yield* driverNotifierUnregister(machine, counting.notifier);
  yield* machine.heap.free(Counting, counting.at);
}

/** A second time, which is refused. */
export function* registerAgain(machine: Machine, mm: Mm, { notifier }: Counting): Task<Errno> {
  yield* mm.mmapLock.downWrite();
  const errno = yield* driverNotifierRegister(machine, mm, notifier, OPS);
  yield* mm.mmapLock.upWrite();
  return errno;
}
