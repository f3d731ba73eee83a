/**
 * @module hmm/mirror/mirror-ops
 * A driver's code, and which thread has it. A mirror lies in shared memory and is called by
 * whichever thread changes a mapping, so every thread that attaches to the address space must have
 * loaded the code of every driver in use: Linux's `struct hmm_mirror_ops` pointer becomes a name,
 * and its number the same hash in all threads. A directory in the kernel heap knows the names in
 * use, so that an attaching thread can be told which ones it lacks before anything goes wrong.
 *
 * Lock: mirrorOpsLock (leaf spinlock) guards the directory.
 */

import type { Machine } from "../../memory/machine.ts";
import {
  type Struct,
  type StructView,
  type WordArray,
  array,
  embed,
  struct,
} from "../../memory/layout/struct.ts";
import type { InvalidateRange } from "../../notifier/events.ts";
import { opsIdOf } from "../../notifier/mmu-notifier.ts";
import { atomicLoad } from "../../sync/atomics.ts";
import { ENOMEM, type Errno } from "../../sync/errno.ts";
import { HmmError, bug } from "../../sync/errors.ts";
import { Spinlock } from "../../sync/primitives/spinlock.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { HmmMirror } from "../mirror-record.ts";

/**
 * What a driver must be able to do. All are called in the thread that changes the mapping, or ends
 * the address space, with mirrorsSem held for reading; they may run at the same time as each other
 * and as themselves. None may take the mmap lock, or register or unregister a mirror or a range, or
 * wait for somebody who does.
 */
export interface HmmMirrorOps {
  /**
   * When it returns 0 the device can no longer reach [startPage, endPage), and nothing that it
   * reads there later comes from before. It takes the driver's own lock, the one under which the
   * driver asks `hmmRangeValid`; that lock is never held while calling what may change a mapping.
   * When the range is not blockable it may answer EAGAIN instead of waiting, and then must have
   * left its own accounting as it found them. Any other answer is counted as a defect of the driver
   * and taken for 0. Linux: `sync_cpu_device_pagetables`.
   */
  readonly invalidate: (mirror: HmmMirror, range: InvalidateRange) => Task<Errno>;
  /**
   * The address space dies: end all access of the device. Once for each mirror, unless it is
   * unregistered before.
   */
  readonly release?: (mirror: HmmMirror) => Task<void>;
  /**
   * The thread that had registered the mirror has died and the mirror has been unregistered for it:
   * free the driver's state, now or when its other threads are gone, which may still try to
   * register a range (ENODEV). Directly before the mirror's memory is freed comes
   * `hmmMirrorForget`. A driver without this has no thread but that one. No lock held.
   */
  readonly orphaned?: (mirror: HmmMirror) => Task<void>;
}

/** Longest name of mirror operations, in ASCII characters. */
export const MIRROR_OPS_NAME_MAX = 64;

/** Different drivers in use on one machine. */
export const MIRROR_OPS_IN_USE_MAX = 32;

interface KnownOps {
  readonly name: string;
  readonly ops: HmmMirrorOps;
}

const opsById = new Map<number, KnownOps>();

/**
 * Makes `ops` callable in this thread under `name` (ASCII, at most 64 characters) and returns the
 * id to store in mirrors: the same in every thread. Registering a name again replaces its code.
 * Throws AssertionFailure on a bad name.
 */
export function registerMirrorOps(name: string, ops: HmmMirrorOps): number {
  if (!/^[\x20-\x7e]{1,64}$/.test(name)) {
    bug(
      `Cannot register mirror operations "${name}": a name has 1 to 64 ASCII characters; shorten it`,
    );
  }
  const id = opsIdOf(name);
  const known = opsById.get(id);
  if (known !== undefined && known.name !== name) {
    bug(`Cannot register mirror operations "${name}": "${known.name}" has the same id; rename one`);
  }
  opsById.set(id, { name, ops });
  return id;
}

/**
 * The code behind `id` in this thread. Throws AssertionFailure when the thread has not loaded it.
 */
export function mirrorOpsOf(id: number): KnownOps {
  const lacking = "this thread has not loaded them; import the driver's module before attaching";
  return opsById.get(id) ?? bug(`Cannot call the mirror operations with id ${id}: ${lacking}`);
}

/** Entry of the directory: id, users, length of the name, its characters four to a word. */
const ENTRY_ID = 0;
const ENTRY_USERS = 1;
const ENTRY_NAME_LENGTH = 2;
const ENTRY_NAME = 3;
const ENTRY_WORDS: number = ENTRY_NAME + MIRROR_OPS_NAME_MAX / 4;

interface MirrorOpsDirectory extends StructView {
  readonly lock: Spinlock;
  readonly entries: WordArray;
}

const MirrorOpsDirectory: Struct<MirrorOpsDirectory> = struct<MirrorOpsDirectory>(
  "mirrorOpsDirectory",
  {
    lock: embed(Spinlock, "entries", "mirrorOpsLock"),
    entries: array(
      ENTRY_WORDS * MIRROR_OPS_IN_USE_MAX,
      "mirrorOpsLock",
      "id, users, length of name, name",
    ),
  },
);

/** The machine's directory, if anybody has needed one yet. */
function* directoryOf({ heap, memory }: Machine): Task<MirrorOpsDirectory | undefined> {
  const at = atomicLoad(memory.words, yield* heap.root(MirrorOpsDirectory.name));
  return at === 0 ? undefined : MirrorOpsDirectory.at(memory, at);
}

/** The directory, made if need be; undefined = ENOMEM. */
function* makeDirectory({ heap }: Machine): Task<MirrorOpsDirectory | undefined> {
  try {
    return yield* heap.singleton(MirrorOpsDirectory, (view) => view.lock.init());
  } catch (error) {
    if (error instanceof HmmError && error.code === "ENOMEM") return undefined;
    throw error;
  }
}

/**
 * Notes that one more mirror uses `id`, so that threads without its code are found. ENOMEM: no
 * memory, or too many drivers.
 */
export function* useMirrorOps(machine: Machine, id: number): Task<Errno> {
  const { name } = mirrorOpsOf(id);
  const directory = yield* makeDirectory(machine);
  if (directory === undefined) return ENOMEM;
  const { entries } = directory;
  yield* directory.lock.lock();
  const at = findEntry(entries, id) ?? findEntry(entries, 0);
  if (at !== undefined) {
    entries.set(at + ENTRY_ID, id);
    entries.set(at + ENTRY_USERS, entries.get(at + ENTRY_USERS) + 1);
    writeName(entries, at, name);
  }
  yield* directory.lock.unlock();
  return at === undefined ? ENOMEM : 0;
}

/** Pairs with useMirrorOps. */
export function* dropMirrorOps(machine: Machine, id: number): Task<void> {
  const directory = yield* directoryOf(machine);
  if (directory === undefined) bug("Cannot drop mirror operations: nobody uses any");
  const { entries } = directory;
  yield* directory.lock.lock();
  const at = findEntry(entries, id);
  if (at !== undefined) {
    const users = entries.get(at + ENTRY_USERS) - 1;
    entries.set(at + ENTRY_USERS, users);
    if (users === 0) entries.set(at + ENTRY_ID, 0);
  }
  yield* directory.lock.unlock();
  if (at === undefined) bug(`Cannot drop mirror operations ${id}: nobody uses them`);
}

/**
 * Names of the mirror operations that are in use on the machine and whose code this thread has not
 * loaded. Empty: this thread may change mappings. To be asked when a thread attaches.
 */
export function* missingMirrorOps(machine: Machine): Task<string[]> {
  const directory = yield* directoryOf(machine);
  if (directory === undefined) return []; // no mirror was ever registered
  const { entries } = directory;
  const missing: string[] = [];
  yield* directory.lock.lock();
  for (let at = 0; at < entries.length; at += ENTRY_WORDS) {
    const id = entries.get(at + ENTRY_ID);
    if (id !== 0 && !opsById.has(id)) missing.push(readName(entries, at));
  }
  yield* directory.lock.unlock();
  return missing;
}

/** Index of the entry with `id`; of a free one for id 0. */
function findEntry(entries: WordArray, id: number): number | undefined {
  for (let at = 0; at < entries.length; at += ENTRY_WORDS)
    if (entries.get(at + ENTRY_ID) === id) return at;
  return undefined;
}

function writeName(entries: WordArray, at: number, name: string): void {
  entries.set(at + ENTRY_NAME_LENGTH, name.length);
  for (let word = 0; word * 4 < name.length; word++) {
    let packed = 0;
    for (let i = 0; i < 4; i++) packed |= (name.charCodeAt(word * 4 + i) & 0x7f) << (8 * i);
    entries.set(at + ENTRY_NAME + word, packed);
  }
}

function readName(entries: WordArray, at: number): string {
  let name = "";
  for (let i = 0; i < entries.get(at + ENTRY_NAME_LENGTH); i++) {
    name += String.fromCharCode((entries.get(at + ENTRY_NAME + (i >> 2)) >>> (8 * (i & 3))) & 0x7f);
  }
  return name;
}
