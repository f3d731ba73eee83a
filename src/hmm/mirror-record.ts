/**
 * @module hmm/mirror-record
 * One device's view of one address space, as it lies in shared memory, and the handle by which a
 * thread speaks of it. Follows Linux `struct hmm_mirror`. Registering and unregistering are in
 * mirror.ts.
 */

import { List } from "../memory/layout/list.ts";
import type { Machine } from "../memory/machine.ts";
import { formatPointer } from "../memory/layout/poison.ts";
import {
  type Struct,
  type StructView,
  embed,
  pointer,
  struct,
  u32,
} from "../memory/layout/struct.ts";
import { atomicLoad, atomicStore } from "../sync/atomics.ts";
import { resourceKind } from "../sync/death/resources.ts";
import { Spinlock } from "../sync/primitives/spinlock.ts";

/** Zeroed memory: the driver has not called `init` on it. */
export const MIRROR_RAW = 0;
/** Set up, never registered. */
export const MIRROR_READY = 0x6d69_7201;
export const MIRROR_REGISTERED = 0x6d69_7202;
/** Unregistered, or being so by the one thread that is allowed to. */
export const MIRROR_UNREGISTERED = 0x6d69_7203;
/** Unregistered by a reaper: the thread that had registered it has died (K4 of mirror.ts). */
export const MIRROR_ORPHANED = 0x6d69_7204;

/**
 * Bits of `owns`: what a reaper must give back for a thread that died. Each is given up directly
 * before the thing itself: lost at worst, never dropped twice.
 */
export const OWNS_OPS_USE = 1;
export const OWNS_HMM_REFERENCE = 2;

/** What a thread's resource list calls a record while it is registered. */
export const MIRROR_RESOURCE: number = resourceKind("hmm mirror");

/**
 * A mirror as it lies in shared memory: embed it in the struct of your driver. Its fields are
 * hmm's.
 */
export interface HmmMirrorRecord extends StructView {
  hmm: number;
  opsId: number;
  status: number;
  readonly claim: Spinlock;
  readonly node: List;
  owns: number;
  resourceSlot: number;
  ownerAgent: number;
}

/**
 * A driver embeds it in the struct of its own device: `embedStruct(HmmMirrorRecord, ...)`;
 * `containerOf` leads back from `mirror.at`.
 */
export const HmmMirrorRecord: Struct<HmmMirrorRecord> = struct<HmmMirrorRecord>(
  "hmmMirror",
  {
    hmm: pointer(
      "const while registered",
      "owns one of its refs; 0 when never registered; kept after unregister",
    ),
    opsId: u32("const", "the driver's code (mirror-ops.ts)"),
    status: u32(
      "claim to write; read atomically without",
      "raw, ready, registered, unregistered or orphaned",
    ),
    claim: embed(Spinlock, "status: who may unregister", "mirrorClaim"),
    node: embed(List, "in the hmm's mirrors; guarded by mirrorsSem"),
    owns: u32("mirrorsSem, then who has unregistered", "what a reaper must give back"),
    resourceSlot: u32("claim", "where the registering thread's record lists it"),
    ownerAgent: u32("claim", "id of the thread that registered it"),
  },
  { embedded: true },
);

const STATUS = HmmMirrorRecord.offset.status;

/** One of the constants above, for as long as {@link isMirror}. */
export function mirrorStatus(record: HmmMirrorRecord): number {
  return atomicLoad(record.memory.words, record.at + STATUS);
}

/** Whether a mirror lives there: asked before `claim` is taken, which else is no lock. */
export function isMirror(record: HmmMirrorRecord): boolean {
  const status = mirrorStatus(record);
  return status >= MIRROR_READY && status <= MIRROR_ORPHANED;
}

/** Holding `claim`, or before anybody else knows of the record. */
export function setMirrorStatus(record: HmmMirrorRecord, status: number): void {
  atomicStore(record.memory.words, record.at + STATUS, status);
}

/**
 * A thread's handle on a mirror: the record plus the machine. Costs nothing to make and owns
 * nothing.
 */
export class HmmMirror {
  readonly machine: Machine;
  readonly record: HmmMirrorRecord;

  /** `at`: pointer of an HmmMirrorRecord in the machine's kernel heap. */
  constructor(machine: Machine, at: number) {
    this.machine = machine;
    this.record = HmmMirrorRecord.at(machine.memory, at);
  }

  /** Pointer of the record: for `containerOf`, and equal in all threads. */
  get at(): number {
    return this.record.at;
  }

  /**
   * Makes zeroed memory, or a mirror that was unregistered, ready for `hmmMirrorRegister`. `opsId`
   * from `registerMirrorOps`.
   */
  init(opsId: number): void {
    const { record } = this;
    record.hmm = 0;
    record.opsId = opsId;
    record.claim.init();
    setMirrorStatus(record, MIRROR_READY);
  }

  /** For messages. */
  toString(): string {
    return `hmm mirror at ${formatPointer(this.record.at)}`;
  }
}
