/**
 * @module mm/source/pager
 * The code behind a source, as this thread has it: how pages are read from the backing store and
 * written to it. Shared memory has the source's record (mm/vma/source.ts); the code is an object of
 * one thread. Follows the role of Linux `struct address_space_operations`.
 *
 * Which thread reads:
 *
 *     the faulting thread has the code        it reads (bring-in.ts)
 *     another thread has it, and serves       the fault is a request in shared memory, and waits
 *                                             (requests.ts, serve.ts)
 *     no living thread has it                 EIO: the access is SIGBUS, as of a disk that is gone
 *
 * The code may answer later (PENDING). The page stays READING, and whoever wants it waits. A thread
 * that would wait by blocking for its own code gets EDEADLK: nothing could end the wait.
 */

import type { Machine } from "../../memory/machine.ts";

/** The answer of a pager that has begun, and will finish the transfer itself. */
export const PENDING = 1;

/** The answer of a `read` that found that the store has another size now: it is asked for. */
export const SIZE_CHANGED = 2;

/** Bytes that are to be read or written. Whole pages, but for the last one of the source. */
export interface PageTransfer {
  /** Where they are in the backing store. A multiple of 4096. */
  readonly offsetBytes: number;
  /** How many of the bytes the store has, as far as is known. */
  readonly storedBytes: number;
  /** Over the frames, in order: no copy is made. */
  readonly parts: readonly Uint8Array[];
  /** The transfer, for `finishTransfer`. */
  readonly io: number;
}

/** Called by tasks, holding no lock. It throws nothing. */
export interface Pager {
  /** Frames are to be zeroed before `read`, which may fill less than it was asked for. */
  readonly wantsZeroes: boolean;
  /** 0, PENDING, SIZE_CHANGED, or why it failed. Past the end of the store it fills in zeros. */
  read(transfer: PageTransfer): number;
  /** 0, PENDING, or why it failed. */
  write(transfer: PageTransfer): number;
  /** The size of the backing store now, in bytes; a negative errno. */
  sizeBytes(): number;
}

/** What a machine's threads have here: one, outside of the checker, which runs several. */
interface LocalPagers {
  /** By thread and cache. */
  readonly pagers: Map<number, Pager>;
  /** Transfers that were begun here and are not finished, with the thread that will finish them. */
  readonly pending: Map<number, number>;
}

const byMachine = new WeakMap<Machine, LocalPagers>();

function localPagers(machine: Machine): LocalPagers {
  let local = byMachine.get(machine);
  if (local === undefined) {
    local = { pagers: new Map(), pending: new Map() };
    byMachine.set(machine, local);
  }
  return local;
}

const AGENTS_MAX = 64;

function keyOf({ memory }: Machine, cache: number): number {
  return cache * AGENTS_MAX + memory.agentId;
}

/** What this thread has for the source of `cache`. */
export function pagerOf(machine: Machine, cache: number): Pager | undefined {
  return byMachine.get(machine)?.pagers.get(keyOf(machine, cache));
}

/** While the caller is a server of the source (serve.ts), so that `cache` is not reused. */
export function setPager(machine: Machine, cache: number, pager: Pager): void {
  localPagers(machine).pagers.set(keyOf(machine, cache), pager);
}

export function dropPager(machine: Machine, cache: number): void {
  byMachine.get(machine)?.pagers.delete(keyOf(machine, cache));
}

/**
 * Transfers that one call has under way at most. Each takes a place in the list of what the thread
 * owns, and pages that lie apart are as many transfers. Linux: the requests of a queue.
 */
export const TRANSFERS_MAX = 64;

/** Notes a transfer that this thread's code may finish later. */
export function notePending(machine: Machine, io: number): void {
  localPagers(machine).pending.set(io, machine.memory.agentId);
}

export function forgetPending(machine: Machine, io: number): void {
  byMachine.get(machine)?.pending.delete(io);
}

/** The transfers that only code of this thread can finish. */
export function* pendingHere(machine: Machine): Generator<number, void, void> {
  for (const [io, agent] of byMachine.get(machine)?.pending ?? [])
    if (agent === machine.memory.agentId) yield io;
}
