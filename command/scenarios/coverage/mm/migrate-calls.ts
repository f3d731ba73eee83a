/**
 * @module What threads do to the page of the scenarios of migration (migrate-stage.ts), beside the
 * thread that moves it: the calls that change a mapping, evictions, exit.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { MADV_DONTNEED, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { doMprotect } from "../../../../src/mm/calls/mprotect.ts";
import { doMremap } from "../../../../src/mm/calls/mremap.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { mmgetNotZero, mmput } from "../../../../src/mm/lifetime/mm.ts";
import { evictDeviceFrame } from "../../../../src/mm/migrate/device-evict.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { VM_READ } from "../../../../src/mm/vma/vma.ts";
import { bug } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { ADDRESS, PAGE } from "./migrate-stage.ts";
import type { Body, MigrationWorld } from "./migrate-stage.ts";

/** The page after `remap`. */
export const MOVED: number = PAGE + 4;

export const discard: Body = (_world, { machine, mm }) =>
  doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_DONTNEED);

export const munmap: Body = (_world, { machine, mm }) => doMunmap(machine, mm, ADDRESS, PAGE_BYTES);

export const protect: Body = (_world, { machine, mm }) =>
  doMprotect(machine, mm, ADDRESS, PAGE_BYTES, VM_READ);

export const remap: Body = (_world, { machine, mm }) =>
  doMremap(machine, mm, {
    address: ADDRESS,
    oldLengthBytes: PAGE_BYTES,
    newLengthBytes: PAGE_BYTES,
    mayMove: true,
    to: MOVED * PAGE_BYTES,
  });

export function* fork(world: MigrationWorld, { machine, mm }: HmmHarness): Task<void> {
  world.child = yield* doFork(machine, mm);
}

export function* view(_world: MigrationWorld, { machine, mm }: HmmHarness): Task<void> {
  const at = yield* viewOpen(machine, mm, PAGE, PAGE + 1, true);
  if (at < 0) bug(`A view of a page that can be moved answered ${at}`);
  yield* viewClose(machine, at);
}

export function evict(world: MigrationWorld, { machine }: HmmHarness): Task<boolean> {
  return evictDeviceFrame(machine, world.memory, world.memory.basePfn);
}

/** Broken: takes a frame for lost that no entry names, and gives it back. */
export function* evictUnnamed(world: MigrationWorld, harness: HmmHarness): Task<void> {
  if (yield* evict(world, harness)) return;
  yield* harness.machine.ram.refs.pagePut(world.memory.basePfn);
}

export function* exit(world: MigrationWorld, { machine, mm }: HmmHarness): Task<void> {
  world.hasEnded = true;
  yield* mmput(machine, mm);
}

/** As `prepare`: the thread that moves the page has a user of the space. */
export function getUser(_world: MigrationWorld, harness: HmmHarness): void {
  if (!harness.run(mmgetNotZero(harness.mm))) bug("The space is gone");
}

/** `move`, by a thread that has a user of the space, which it gives up after it. */
export function thenPut(move: Body): Body {
  return function* (world, harness) {
    yield* move(world, harness);
    yield* mmput(harness.machine, harness.mm);
  };
}

/** Broken: gives the user up before. */
export function afterPut(move: Body): Body {
  return function* (world, harness) {
    yield* mmput(harness.machine, harness.mm);
    yield* move(world, harness);
  };
}
