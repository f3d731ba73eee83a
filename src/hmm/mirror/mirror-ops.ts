/**
 * @module hmm/mirror/mirror-ops
 * A driver's code, and which thread has it. A mirror lies in shared memory and is called by
 * whichever thread changes a mapping, so every thread that attaches to the address space must have
 * loaded the code of every driver in use. Linux's `struct hmm_mirror_ops` pointer is a name here
 * (sync/name-registry.ts), and a mirror stores its number. A directory in the kernel heap lists the
 * drivers in use by name, so that a thread which attaches finds out which ones it lacks.
 *
 * Lock: mirrorOpsLock (leaf spinlock) guards the directory, searches of it included.
 */

import type { Machine } from "../../memory/machine.ts";
import { NameTable, type NameTableShape } from "../../memory/layout/name-table.ts";
import { undoField } from "../../memory/layout/undo-field.ts";
import {
  type PlainField,
  type Struct,
  type StructView,
  type WordArray,
  array,
  embed,
  struct,
  u32,
} from "../../memory/layout/struct.ts";
import type { InvalidateRange } from "../../notifier/events.ts";
import { atomicLoad, plainLoad } from "../../sync/atomics.ts";
import { type CallBackNames, checkCallBacks } from "../../sync/tasks/call-backs.ts";
import { ENOMEM, type Errno } from "../../sync/errno.ts";
import { HmmError, bug } from "../../sync/errors.ts";
import { NameRegistry } from "../../sync/name-registry.ts";
import { Spinlock } from "../../sync/primitives/spinlock.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { undoStore } from "../../sync/words/undo-log.ts";
import type { HmmMirror } from "../mirror-record.ts";

/**
 * A driver's call-backs. `invalidate` and `release` run in the thread that changes the mapping, or
 * ends the address space, with mirrorsSem held for reading; any number of them may run at once.
 * They may not take the mmap lock, register or unregister a mirror or a range, or wait for a thread
 * that does. A call-back that throws stops the machine.
 */
export interface HmmMirrorOps {
  /**
   * The pages [startPage, endPage) are about to change. When it returns 0, the device cannot reach
   * them by an old translation any more. It takes the driver lock, under which the driver calls
   * `hmmRangeValid`. That lock is never held into a call that may change a mapping. If the range is
   * not blockable, it may answer EAGAIN instead of waiting, and then has changed nothing (R3). Any
   * other answer is counted as a defect of the driver and taken for 0. If the thread dies in it,
   * another one calls it again for the same pages. Linux: `sync_cpu_device_pagetables`.
   */
  readonly invalidate: (mirror: HmmMirror, range: InvalidateRange) => Task<Errno>;
  /**
   * Ends all access of the device: the address space dies, or the thread that had registered the
   * mirror has died. In the first case it is called once for each mirror that is registered then,
   * and the driver unregisters the mirror all the same. In the second one a reaper calls it, before
   * `orphaned`, and holds no lock. If the thread dies in it, another one calls it again.
   */
  readonly release?: (mirror: HmmMirror) => Task<void>;
  /**
   * The thread that had registered the mirror has died, and a reaper has unregistered the mirror.
   * Frees the driver's state, now or when the driver's other threads are gone; those may still try
   * to register a range (ENODEV). Call `hmmMirrorForget` directly before the mirror's memory is
   * freed. A driver without this call-back has no other thread. No lock is held. If the thread dies
   * in it, what is left leaks, unless the driver `inherits`.
   */
  readonly orphaned?: (mirror: HmmMirror, slot: number) => Task<void>;
  /**
   * `orphaned` may be called again from its beginning, if its thread dies in it. It makes another
   * resource of the one at `slot` of its thread, which is the mirror (-1: the list was full), in a
   * step (`changeResource`), and has an heir for that (`registerHeir`). Default: no.
   */
  readonly inherits?: boolean;
}

/** Longest name of mirror operations, in ASCII characters. */
export const MIRROR_OPS_NAME_MAX = 64;

/** Different drivers in use on one machine. */
export const MIRROR_OPS_IN_USE_MAX = 32;

/** The drivers' code that this thread has. */
export const mirrorOps: NameRegistry<HmmMirrorOps> = new NameRegistry(
  "mirror operations",
  "import the driver's module before attaching",
);

/**
 * Makes `ops` callable in this thread under `name` (1 to 64 ASCII characters), and returns the id
 * for `HmmMirror.init`, which is the same in every thread. Call it where the driver's module is
 * loaded, in each thread, before the thread attaches to an address space. Registering a name again
 * replaces its code. Throws AssertionFailure on a bad name, and for what is no object of such
 * call-backs.
 */
export function registerMirrorOps(name: string, ops: HmmMirrorOps): number {
  if (!/^[\x20-\x7e]{1,64}$/.test(name)) {
    bug(
      `Cannot register mirror operations "${name}": a name has 1 to 64 ASCII characters; shorten it`,
    );
  }
  checkCallBacks("mirror operations", name, ops, CALL_BACKS);
  return mirrorOps.register(name, ops);
}

const CALL_BACKS: CallBackNames = {
  required: ["invalidate"],
  optional: ["release", "orphaned"],
  further: ["inherits"],
};

/** What the directory keeps for each name. */
interface DriverUse extends StructView {
  users: number;
}

const DriverUse: Struct<DriverUse> = struct<DriverUse>(
  "driverUse",
  { users: u32("mirrorOpsLock", "mirrors that use the driver") },
  { embedded: true },
);

const USERS: PlainField = undoField(DriverUse, "users");

const DIRECTORY: NameTableShape = {
  capacity: MIRROR_OPS_IN_USE_MAX,
  nameWords: MIRROR_OPS_NAME_MAX / 4,
  payloadWords: DriverUse.sizeWords,
};

interface MirrorOpsDirectory extends StructView {
  readonly lock: Spinlock;
  changes: number;
  readonly entries: WordArray;
}

const MirrorOpsDirectory: Struct<MirrorOpsDirectory> = struct<MirrorOpsDirectory>(
  "mirrorOpsDirectory",
  {
    lock: embed(Spinlock, "the drivers in use", "mirrorOpsLock"),
    changes: u32("mirrorOpsLock", "uses that began so far; DriverCode reads it without the lock"),
    entries: array(NameTable.wordsFor(DIRECTORY), "mirrorOpsLock", "driverUse by name"),
  },
);

const CHANGES: number = MirrorOpsDirectory.offset.changes;

function namesOf({ memory, entries }: MirrorOpsDirectory): NameTable {
  return new NameTable(memory, entries.at, DIRECTORY);
}

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

/** What else of drivers this thread has: the names of bare notifiers (driver-notifier.ts). */
const furtherCode = new Set<string>();

/** This thread has the code that is counted under `name`. */
export function declareDriverCode(name: string): void {
  furtherCode.add(name);
}

/**
 * One more mirror uses `id`, so threads without its code are refused. ENOMEM: no memory, or more
 * than MIRROR_OPS_IN_USE_MAX drivers.
 */
export function useMirrorOps(machine: Machine, id: number, note: UseNote = NO_NOTE): Task<Errno> {
  mirrorOps.get(id); // throws where this thread has not loaded it
  return useDriverCode(machine, mirrorOps.nameOf(id), note);
}

/** The word `at` becomes `noted` in the change that counts a use, or counts it no more. */
export interface UseNote {
  /** 0: there is no such word. */
  readonly at: number;
  readonly noted: number;
}

const NO_NOTE: UseNote = { at: 0, noted: 0 };

/** As useMirrorOps, by the name under which the code is counted. */
export function* useDriverCode(
  machine: Machine,
  name: string,
  note: UseNote = NO_NOTE,
): Task<Errno> {
  const directory = yield* makeDirectory(machine);
  if (directory === undefined) return ENOMEM;
  const { memory } = machine;
  const isUnused = (use: number): boolean => DriverUse.at(memory, use).users === 0;
  yield* directory.lock.lock();
  const at = yield* namesOf(directory).add(name, undefined, isUnused);
  if (at !== 0) {
    memory.undoLock = directory.lock.at;
    USERS.store(memory, at, USERS.load(memory, at) + 1);
    directory.changes += 1; // one too many does no harm
    noteUse(memory, note);
  }
  yield* directory.lock.unlock();
  return at === 0 ? ENOMEM : 0;
}

/** Holding the lock. */
function noteUse(memory: SharedMemory, { at, noted }: UseNote): void {
  if (at !== 0) undoStore(memory, memory.undoLock, at, noted);
}

/** Pairs with useMirrorOps. */
export function dropMirrorOps(machine: Machine, id: number, note: UseNote = NO_NOTE): Task<void> {
  return dropDriverCode(machine, mirrorOps.nameOf(id), note);
}

/** Pairs with useDriverCode. */
export function* dropDriverCode(
  machine: Machine,
  name: string,
  note: UseNote = NO_NOTE,
): Task<void> {
  const directory = yield* directoryOf(machine);
  if (directory === undefined) bug("Cannot drop mirror operations: nobody uses any");
  yield* directory.lock.lock();
  const at = namesOf(directory).findLocked(name);
  const { memory } = machine;
  const isUsed = at !== 0 && USERS.load(memory, at) > 0;
  if (isUsed) {
    memory.undoLock = directory.lock.at;
    USERS.store(memory, at, USERS.load(memory, at) - 1);
    noteUse(memory, note);
  }
  yield* directory.lock.unlock();
  if (!isUsed) bug(`Cannot drop ${name}: nothing uses it`);
}

/**
 * Names of the drivers that are in use on the machine and whose code this thread has not loaded.
 * Empty: this thread may change mappings. `AddressSpace.attach` refuses a thread for which it is
 * not (ENODEV).
 */
export function* missingMirrorOps(machine: Machine): Task<string[]> {
  const directory = yield* directoryOf(machine);
  if (directory === undefined) return []; // no mirror was ever registered
  yield* directory.lock.lock();
  const inUse = namesOf(directory)
    .entries()
    .filter(({ at }) => DriverUse.at(machine.memory, at).users > 0);
  yield* directory.lock.unlock();
  return inUse
    .map(({ name }) => name)
    .filter((name) => !mirrorOps.has(name) && !furtherCode.has(name));
}

/** Where a machine keeps the pointer of its directory: for DriverCode. */
export function driverDirectorySlot({ heap }: Machine): Task<number> {
  return heap.root(MirrorOpsDirectory.name);
}

/**
 * Whether this thread has the code of every driver in use on one machine, which a thread that
 * changes a mapping calls. A driver may come into use after the thread has attached: so the thread
 * asks before each operation.
 */
export class DriverCode {
  readonly #machine: Machine;
  readonly #slot: number;
  #seen = 0;

  /** `slot`: what driverDirectorySlot answers; 0 if it is not to look. */
  constructor(machine: Machine, slot: number) {
    this.#machine = machine;
    this.#slot = slot;
  }

  get #changes(): number {
    const { memory } = this.#machine;
    const at = this.#slot === 0 ? 0 : plainLoad(memory.words, this.#slot);
    if (at === 0) return 0;
    memory.ensure(at + MirrorOpsDirectory.sizeWords);
    return plainLoad(memory.words, at + CHANGES);
  }

  /**
   * Whether a driver may have come into use since this thread had the code of all. A hint, read
   * without a lock: one that comes into use while the operation runs stops the machine, if its code
   * is not here (hmm/mirror/invalidate.ts).
   */
  get mayLack(): boolean {
    return this.#changes !== this.#seen;
  }

  /** Names of the drivers that it lacks. */
  *lacking(): Task<string[]> {
    const changes = this.#changes;
    const missing = yield* missingMirrorOps(this.#machine);
    if (missing.length === 0) this.#seen = changes;
    return missing;
  }
}
