/**
 * @module conformance/demands
 * What is demanded of a driver: what Linux's documentation of HMM says (H), and what this library
 * adds (D). Each case and each scenario names those that it shows. A demand that only the core can
 * break is not here: it asserts that the mmap lock is held from set-up to the end of a migration,
 * and ends each migration by itself.
 */

/** By the name that cases give. */
export const DEMANDS = {
  "register-first": "The mirror is registered before anything is mirrored, and until the end.",
  "finish-before-return": "When invalidate returns 0, the device cannot reach the pages.",
  "hold-the-mm": "A fault holds an mm user; if the space is dead, the access fails.",
  "fault-unlocked": "No lock is held into a wait for a page; it may come from a source.",
  bounded: "A fault that does not get through is given up with EBUSY after a while.",
  recheck: "A translation is installed under the lock of invalidate, after the recheck there.",
  request: "A store asks for a writable page, and uses no entry that is not writable.",
  "generic-fault": "A fault of the device is one like the CPU's: it brings in what is not there.",
  "migrate-to-ram": "A touch of the CPU brings a page of private memory back, with its contents.",
  owner: "A migration takes pages of RAM or of its own device, and leaves others alone.",
  "clear-empty": "A page that was empty is zero on the device, whatever the frame held before.",
  "skip-unmarked": "A page that cannot be moved is left where it is, and nothing is lost.",
  "own-tables": "After a migration the device uses the pages where they are now.",
  "lost-race": "A page that another thread touches meanwhile is on one side, whole.",
  accounting: "Pages on the device count as resident, and are free again at the end.",
  "exclusive-ends": "Exclusive access ends at the first touch of the CPU.",
  "state-is-shared": "The call-backs work in any thread that has loaded the driver.",
  "must-load": "A thread that has not loaded the driver is refused, with the driver's name.",
  eagain: "Where it may not block, invalidate answers EAGAIN instead, and has changed nothing.",
  "unregister-ranges": "Each range is unregistered, on each path.",
  "no-references": "The driver keeps no reference of a frame.",
  "release-once": "The space dies although the device is there; the device is told once.",
  errors: "A failed access says why, and leaves device and space usable.",
  "owner-dies": "When the thread that owns the device dies, what it had is given back.",
} as const;

/** The name of a demand, in {@link DEMANDS}. */
export type Demand = keyof typeof DEMANDS;

/** One test: throws, or rejects, if the driver does not do what is demanded. */
export interface ConformanceCase {
  /** What the driver must do, in a line. */
  readonly name: string;
  /** The demands that it tests. */
  readonly demands: readonly Demand[];
  /** Makes a machine of its own, and leaves nothing. */
  readonly run: () => Promise<void>;
}

/** A driver does not do what is demanded. */
export class ConformanceFailure extends Error {
  /** "ConformanceFailure". */
  override readonly name: string = "ConformanceFailure";
}

/** Throws ConformanceFailure with `message`, which says what was found, unless it holds. */
export function demand(holds: boolean, message: string): asserts holds {
  if (!holds) throw new ConformanceFailure(message);
}
