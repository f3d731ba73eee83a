/**
 * @module One thread's handle on a machine's kernel heap: a growable SharedArrayBuffer seen as
 * 32-bit words.
 *
 * Every thread keeps a FIXED-LENGTH Int32Array over the buffer and makes a new one after growth. On
 * Node 20 an access costs 0.5 ns through it, and 15 to 30 ns through a length-tracking array over a
 * growable SharedArrayBuffer. Another thread may have grown the heap since this thread made its
 * view. Hence the one rule: pass a word index that was read from shared memory to
 * {@link SharedMemory.ensure} before using it. A word index is a pointer; 0 is null.
 *
 * Not here: what the words mean (control-block.ts for the first ones, memory/ for the rest).
 */

import { atomicLoad, plainLoad } from "./atomics.ts";
import {
  AGENT_HELD,
  CONTROL_WORDS,
  FLAGS,
  FLAG_DEBUG,
  MAGIC,
  MAGIC_VALUE,
  NO_RECORD,
  VERSION,
  VERSION_VALUE,
} from "./control-block.ts";
import { EFAULT, EINVAL } from "./errno.ts";
import { HmmError } from "./errors.ts";

/** How this thread runs the machine's operations. */
export type Mode = 0 | 1 | 2 | 3;
/** Fast paths, no checks beyond assertions. */
export const REAL: Mode = 0;
/** As REAL, and lockdep checks every operation. */
export const DEBUG: Mode = 1;
/** Each operation is first offered to the scheduler of an explorer (task.ts). */
export const EXPLORED: Mode = 2;
/** No agent is registered: every operation that waits or locks is refused. */
export const DETACHED: Mode = 3;

/** How large a shared memory is, and whether its locks are checked. */
export interface SharedMemoryOptions {
  /** How large it is at first, in bytes. */
  readonly initialBytes?: number;
  /** Growth limit in bytes; the address space is reserved, not committed. */
  readonly maxBytes?: number;
  /** Whether locks, lifetimes and plain accesses are checked. Default false. */
  readonly debug?: boolean;
}

/** An observer of plain accesses to words of the heap: a checker that looks for data races. */
export interface PlainWatch {
  /** The running task reads or writes word `at`, which the code calls `label`. */
  note(at: number, isWrite: boolean, label: string): void;
}

/** Who keeps a thread's mark over several stores. */
export interface MarkKeeper {
  /**
   * Takes the mark away now, between two stores.
   *
   * @stepped store mark
   */
  letGo(): void;
}

const WORD_BYTES = 4;
const KEY_SPAN = 2 ** 32;

let handles = 0;

function nextKeyBase(): number {
  return handles++ * KEY_SPAN;
}

/** A SharedArrayBuffer with its words, as one thread sees it: what tasks and primitives work on. */
export class SharedMemory {
  /** The bytes, which all threads share. */
  readonly buffer: SharedArrayBuffer;
  /** Whether locks, lifetimes and plain accesses are checked. */
  readonly debug: boolean;
  /**
   * Fixed-length view; another thread's growth becomes visible through {@link ensure} or {@link
   * refresh}.
   */
  words: Int32Array;
  /** How this thread waits in it. */
  mode: Mode = DETACHED;
  /** `keyBase` + word index is a key that no other handle of this thread uses. */
  readonly keyBase: number = nextKeyBase();

  /**
   * This thread's id on the machine, -1 while not registered. Written by runners/agents.ts (and by
   * an explorer).
   */
  agentId: number = -1;
  /** agentId << 20. Lock words hold `ownerBase | serial of the task`. */
  ownerBase: number = 0;
  /** First word of this agent's record. */
  record: number = NO_RECORD;
  /** Next free slot of the held table (held-locks.ts). */
  heldNext: number = NO_RECORD + AGENT_HELD;
  /** This thread's own copy of its INSIDE word (shootdown.ts), which only it writes. */
  insideMark: number = 0;
  /**
   * By agent: who keeps that thread's mark over several stores, if somebody does (shootdown.ts).
   * More than one element only under an explorer, where several agents share one handle.
   */
  readonly markKeepers: (MarkKeeper | undefined)[] = [];
  /**
   * No other thread can have this memory yet, so stores need no mark. Set by who has made it, and
   * cleared by {@link shareMemory} (shootdown.ts) before the buffer is given out.
   */
  isAlone: boolean = false;
  /**
   * How often a loop may read a word before it sleeps. An explorer sets 1: more reads only add
   * steps.
   */
  spinsMax: number = Infinity;
  /**
   * How many liveness waiters an agent may have. An explorer sets a small number: 64 instead of 2
   * only add steps.
   */
  livenessWaitersMax: number = Infinity;
  /** An explorer makes each access inside the primitives of sync/ a step (stepping.ts). */
  isSpelledOut: boolean = false;
  /** Where to look first for a free resource slot (resources.ts). */
  resourceNext: number = 0;
  /** When this thread, while it blocks, next probes the other threads (run-blocking.ts). */
  nextProbeMs: number = 0;
  /** Set while executions are explored. Struct fields and lists report plain accesses to it. */
  plainWatch: PlainWatch | undefined = undefined;
  /**
   * Stores a word of a frame table, by its number in the undo log (words/undo-log.ts). False: there
   * is none. Undefined before this thread has the machine's RAM.
   */
  storeFrameWord: ((number: number, value: number) => boolean) | undefined = undefined;
  /** The lock under which fields that are logged are stored now (memory/layout/undo-field.ts). */
  undoLock: number = 0;
  /** A reaping task of this thread is running (reaper.ts). */
  reaping: boolean = false;
  /** So is one that finishes what the dead had begun (death/recovery.ts). */
  recovering: boolean = false;

  private constructor(buffer: SharedArrayBuffer, debug: boolean) {
    this.buffer = buffer;
    this.words = new Int32Array(buffer, 0, Math.floor(buffer.byteLength / WORD_BYTES));
    this.debug = debug;
  }

  /** Makes a machine's heap with an empty control block. */
  static create(options: SharedMemoryOptions = {}): SharedMemory {
    const controlBytes = CONTROL_WORDS * WORD_BYTES;
    const initialBytes = roundUpWords(Math.max(options.initialBytes ?? 0, controlBytes));
    const maxBytes = roundUpWords(Math.max(options.maxBytes ?? initialBytes, initialBytes));
    const buffer = allocateBuffer(initialBytes, maxBytes);
    const memory = new SharedMemory(buffer, options.debug ?? false);
    memory.words[VERSION] = VERSION_VALUE;
    memory.words[FLAGS] = memory.debug ? FLAG_DEBUG : 0;
    memory.words[MAGIC] = MAGIC_VALUE;
    return memory;
  }

  /** A further handle on a heap made by {@link create}, usually in another thread. */
  static attach(buffer: SharedArrayBuffer): SharedMemory {
    if (!(buffer instanceof SharedArrayBuffer) || buffer.byteLength < CONTROL_WORDS * WORD_BYTES) {
      throw new HmmError(
        EINVAL,
        "attach",
        "Cannot attach: not the buffer of a machine; pass on the handle as it was given",
      );
    }
    const head = new Int32Array(buffer, 0, CONTROL_WORDS);
    if (plainLoad(head, MAGIC) !== MAGIC_VALUE || plainLoad(head, VERSION) !== VERSION_VALUE) {
      throw new HmmError(
        EINVAL,
        "attach",
        "Cannot attach: the buffer holds no machine of this version; use one version of hmm-ts in all threads",
      );
    }
    return new SharedMemory(buffer, (plainLoad(head, FLAGS) & FLAG_DEBUG) !== 0);
  }

  /** Makes the view cover all that has been grown so far. */
  refresh(): void {
    const lengthWords = Math.floor(this.buffer.byteLength / WORD_BYTES);
    if (lengthWords !== this.words.length) this.words = new Int32Array(this.buffer, 0, lengthWords);
  }

  /**
   * Makes words below `endWord` accessible; throws EFAULT if they do not exist, which means a wild
   * pointer.
   */
  ensure(endWord: number): void {
    if (endWord <= this.words.length) return;
    this.refresh();
    if (endWord > this.words.length) {
      throw new HmmError(
        EFAULT,
        "ensure",
        `Cannot reach word ${endWord}: the heap has ${this.words.length}; the pointer is wild`,
      );
    }
  }

  /**
   * Grows the heap to at least `bytes` in total. False: this exceeds the limit given at creation.
   * Other threads may grow it at the same time.
   */
  grow(bytes: number): boolean {
    const wantedBytes = roundUpWords(bytes);
    while (this.buffer.byteLength < wantedBytes) {
      if (!this.buffer.growable || wantedBytes > this.buffer.maxByteLength) return false;
      try {
        this.buffer.grow(wantedBytes);
      } catch (error) {
        // Another thread may have grown it further in between: then nothing is left to do.
        if (this.buffer.byteLength < wantedBytes) {
          if (error instanceof RangeError) return false;
          throw error;
        }
      }
    }
    this.refresh();
    return true;
  }

  /** Growth limit in bytes. */
  get maxBytes(): number {
    return this.buffer.growable ? this.buffer.maxByteLength : this.buffer.byteLength;
  }

  /** Atomic read of one word that must exist. */
  load(index: number): number {
    return atomicLoad(this.words, index);
  }
}

function roundUpWords(bytes: number): number {
  return Math.ceil(bytes / WORD_BYTES) * WORD_BYTES;
}

/**
 * On hosts without growable buffers the buffer has its maximum size at once. The host only
 * reserves the memory until it is touched.
 */
function allocateBuffer(initialBytes: number, maxBytes: number): SharedArrayBuffer {
  const canGrow = typeof (SharedArrayBuffer.prototype as { grow?: unknown }).grow === "function";
  return canGrow
    ? new SharedArrayBuffer(initialBytes, { maxByteLength: maxBytes })
    : new SharedArrayBuffer(maxBytes);
}
