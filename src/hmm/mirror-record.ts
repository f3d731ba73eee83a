/**
 * @module hmm/mirror-record
 * A mirror: one device's registration on one address space. Its record lies in shared memory; each
 * thread makes a handle of its own on it. Follows Linux `struct hmm_mirror`. Registering and
 * unregistering are in mirror.ts.
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
import { resourceKind } from "../sync/lockdep/resources.ts";
import { Spinlock } from "../sync/primitives/spinlock.ts";

/** Zeroed memory: the driver has not called `init` on it. */
export const MIRROR_RAW = 0;
/** Set up, never registered. */
export const MIRROR_READY = 0x6d69_7201;
export const MIRROR_REGISTERED = 0x6d69_7202;
/** Unregistered, or on the way to it. */
export const MIRROR_UNREGISTERED = 0x6d69_7203;
/** Unregistered by a reaper: the thread that had registered it has died (K4 of mirror.ts). */
export const MIRROR_ORPHANED = 0x6d69_7204;

/**
 * Bits of `owns`: what a reaper drops for a thread that died. Each is set and cleared in the step
 * that gets it, and drops it.
 */
export const OWNS_OPS_USE = 1;
export const OWNS_HMM_REFERENCE = 2;
/** That was the last one, and the hmm is about to end. */
export const OWNS_HMM_ENDING = 6;

/** A registered mirror, in the list of what a thread owns. */
export const MIRROR_RESOURCE: number = resourceKind("hmm mirror");

/** A mirror in shared memory, as a part of a driver's struct. Only hmm uses its fields. */
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
 * A driver embeds it in the struct of its device, `embedStruct(HmmMirrorRecord, ...)`, in zeroed
 * memory; `containerOf` leads from `mirror.at` back to that struct.
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
      "who registers or unregisters it, or its reaper; atomic",
      "raw, ready, registered, unregistered or orphaned",
    ),
    claim: embed(Spinlock, "status: who may unregister", "mirrorClaim"),
    node: embed(List, "in the hmm's mirrors; guarded by mirrorsSem"),
    owns: u32("mirrorsSem, then who has unregistered", "what a reaper drops"),
    resourceSlot: u32("claim", "its slot in the list of the registering thread"),
    ownerAgent: u32("claim", "id of the thread that registered it"),
  },
  { embedded: true },
);

const STATUS = HmmMirrorRecord.offset.status;

/** One of the constants above, if {@link isMirror}. */
export function mirrorStatus(record: HmmMirrorRecord): number {
  return atomicLoad(record.memory.words, record.at + STATUS);
}

/** Whether a mirror lives there. If not, `claim` is no lock. */
export function isMirror(record: HmmMirrorRecord): boolean {
  const status = mirrorStatus(record);
  return status >= MIRROR_READY && status <= MIRROR_ORPHANED;
}

/** As the thread that registers or unregisters the mirror, or as its reaper. */
export function setMirrorStatus(record: HmmMirrorRecord, status: number): void {
  atomicStore(record.memory.words, record.at + STATUS, status);
}

/** A thread's handle on a mirror: its record and the machine. It owns nothing. */
export class HmmMirror {
  /** The machine that the record lies on. */
  readonly machine: Machine;
  /** The mirror in shared memory. */
  readonly record: HmmMirrorRecord;

  /** `at`: pointer of an HmmMirrorRecord in the machine's kernel heap. */
  constructor(machine: Machine, at: number) {
    this.machine = machine;
    this.record = HmmMirrorRecord.at(machine.memory, at);
  }

  /** Pointer of the record, equal in all threads. */
  get at(): number {
    return this.record.at;
  }

  /**
   * Prepares zeroed memory, or a mirror that was unregistered, for `hmmMirrorRegister`. `opsId` is
   * that of `registerMirrorOps`.
   */
  init(opsId: number): void {
    const { record } = this;
    record.hmm = 0;
    record.opsId = opsId;
    record.claim.init();
    setMirrorStatus(record, MIRROR_READY);
  }

  /** The mirror in messages. */
  toString(): string {
    return `hmm mirror at ${formatPointer(this.record.at)}`;
  }
}
