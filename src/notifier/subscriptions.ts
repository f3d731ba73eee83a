/**
 * @module notifier/subscriptions
 * The list of notifiers of an address space, and its nodes, in the kernel heap. Follows Linux
 * `struct mmu_notifier_subscriptions` and `struct mmu_notifier`. Who calls them is in
 * mmu-notifier.ts.
 *
 * The list is changed under `notifierLock`. It is read without the lock, in an SRCU read section:
 *
 *   N1  Unlinking leaves `next` of the node as it is, so a reader at an unlinked node can go on.
 *   N2  A node's memory is freed only after a grace period that began after it was unlinked.
 *   N3  A change is undone if its thread dies before it has released the lock: a node that was
 *       being unlinked stays, which only one does that ignores its calls (H2 of hmm-struct.ts).
 */

import { type LockClass, lockClass } from "../sync/lock-class.ts";
import { atomicLoad, atomicStore, plainLoad } from "../sync/atomics.ts";
import { EXPLORED } from "../sync/shared-memory.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import { Spinlock } from "../sync/primitives/spinlock.ts";
import type { Task } from "../sync/tasks/task.ts";
import { noteUndo } from "../sync/words/undo-log.ts";
import { compareExchangeWord, readWord, writeWord } from "../sync/primitives/word-steps.ts";
import { hasAgentDied, liveAgent } from "../sync/tasks/identity.ts";

const HEAD_WORD = Spinlock.WORDS;

/** `prev` of a node that is in no list. Heap pointers are positive. */
const UNLINKED = -1;

/** The notifiers of one address space. Embedded in the mm. */
export class NotifierSubscriptions {
  static readonly WORDS: number = Spinlock.WORDS + 2;

  readonly memory: SharedMemory;
  readonly at: number;
  readonly lock: Spinlock;

  constructor(memory: SharedMemory, at: number, lockedBy: LockClass = lockClass("notifierLock")) {
    this.memory = memory;
    this.at = at;
    this.lock = new Spinlock(memory, at, lockedBy);
  }

  /** Where the list begins: a word of its own, in which no lock lives. */
  get headAt(): number {
    return this.at + HEAD_WORD;
  }

  init(): void {
    this.lock.init();
    atomicStore(this.memory.words, this.at + HEAD_WORD, 0);
  }

  /** First node, or 0. To see whether there is any, or to begin a walk in an SRCU read section. */
  first(): Task<number> {
    return readWord(this.memory, this.at + HEAD_WORD, NOTIFIERS);
  }

  /**
   * Whether there is none, for code that is not a task. An explorer is told no: it needs the step.
   */
  isEmptyFast(): boolean {
    return (
      this.memory.mode !== EXPLORED && atomicLoad(this.memory.words, this.at + HEAD_WORD) === 0
    );
  }

  /**
   * Whether there may be one, now and until the caller releases the mmap lock, which it holds: none
   * is linked meanwhile (N3 of mmu-notifier.ts).
   */
  mayHaveAny(): boolean {
    return plainLoad(this.memory.words, this.at + HEAD_WORD) !== 0;
  }

  /** Links `node` in front. Holding `notifierLock` and the mmap lock for writing. */
  *link(node: MmuNotifier): Task<void> {
    this.lock.assertHeld();
    const { memory } = this;
    const first = atomicLoad(memory.words, this.at + HEAD_WORD);
    node.setNext(first);
    noteUndo(memory, this.lock.at, node.at + PREV_WORD, UNLINKED);
    node.setPrev(0);
    if (first !== 0) new MmuNotifier(memory, first).setPrevUnder(this.lock.at, node.at);
    noteUndo(memory, this.lock.at, this.at + HEAD_WORD, first);
    // Stored last: a reader that sees the node sees its `next`, too.
    yield* writeWord(memory, this.at + HEAD_WORD, node.at, NOTIFIERS);
  }

  /** Unlinks `node`, unless exit has (N1). Holding `notifierLock`. */
  *unlink(node: MmuNotifier): Task<void> {
    this.lock.assertHeld();
    if (!node.isLinked()) return;
    const { memory } = this;
    const next = node.nextLocked();
    const prev = node.prev();
    const link = prev === 0 ? this.at + HEAD_WORD : prev + NEXT_WORD;
    noteUndo(memory, this.lock.at, link, node.at);
    yield* writeWord(memory, link, next, NOTIFIERS);
    if (next !== 0) new MmuNotifier(memory, next).setPrevUnder(this.lock.at, prev);
    node.setPrevUnder(this.lock.at, UNLINKED);
  }
}

/** What reports call the words of the list. */
const NOTIFIERS = "notifiers";

const NEXT_WORD = 0;
const PREV_WORD = 1;
const OPS_WORD = 2;
const RELEASED_WORD = 3;

/** Of RELEASED_WORD: the release has returned. Else the thread that calls it, or 0. */
const RELEASED = -1;

/** What `claimRelease` answers. */
export const CLAIM_OURS = 1;
/** It has been called, and has returned. */
export const CLAIM_OVER = 2;
/** Another thread calls it now. */
export const CLAIM_OTHER = 3;

/**
 * The node of a notifier. It is the first field of the notifier's struct, so both have one address.
 */
export class MmuNotifier {
  static readonly WORDS: number = 4;

  readonly memory: SharedMemory;
  readonly at: number;

  constructor(memory: SharedMemory, at: number) {
    this.memory = memory;
    this.at = at;
    memory.ensure(at + MmuNotifier.WORDS);
  }

  /** Makes an unlinked node whose calls go to the operations registered as `opsId`. */
  init(opsId = 0): void {
    const { words } = this.memory;
    atomicStore(words, this.at + NEXT_WORD, 0);
    atomicStore(words, this.at + PREV_WORD, UNLINKED);
    atomicStore(words, this.at + OPS_WORD, opsId);
    atomicStore(words, this.at + RELEASED_WORD, 0);
  }

  /** The next node, or 0. Inside an SRCU read section. */
  next(): Task<number> {
    return readWord(this.memory, this.at + NEXT_WORD, NOTIFIERS);
  }

  /** The same under `notifierLock`, where it does not change. */
  nextLocked(): number {
    return atomicLoad(this.memory.words, this.at + NEXT_WORD);
  }

  setNext(node: number): void {
    atomicStore(this.memory.words, this.at + NEXT_WORD, node);
  }

  prev(): number {
    return atomicLoad(this.memory.words, this.at + PREV_WORD);
  }

  setPrev(node: number): void {
    atomicStore(this.memory.words, this.at + PREV_WORD, node);
  }

  /** The same, undone if this thread dies with `lock`. */
  setPrevUnder(lock: number, node: number): void {
    noteUndo(this.memory, lock, this.at + PREV_WORD, this.prev());
    this.setPrev(node);
  }

  isLinked(): boolean {
    return this.prev() !== UNLINKED;
  }

  opsId(): number {
    return atomicLoad(this.memory.words, this.at + OPS_WORD);
  }

  /**
   * Who calls the release: CLAIM_OURS for one caller only, until that dies in it. It says when it
   * is over by `setReleased`.
   */
  *claimRelease(): Task<number> {
    const { memory } = this;
    const word = this.at + RELEASED_WORD;
    const seen = yield* readWord(memory, word, RELEASE);
    if (seen === RELEASED) return CLAIM_OVER;
    if (seen !== 0 && !(yield* hasAgentDied(memory, seen >>> 0))) return CLAIM_OTHER;
    const own = liveAgent(memory) | 0;
    const found = yield* compareExchangeWord(memory, word, seen, own, RELEASE);
    if (found === seen) return CLAIM_OURS;
    return found === RELEASED ? CLAIM_OVER : CLAIM_OTHER;
  }

  /** Pairs with CLAIM_OURS. */
  setReleased(): Task<void> {
    return writeWord(this.memory, this.at + RELEASED_WORD, RELEASED, RELEASE);
  }
}

const RELEASE = "claim to release";
