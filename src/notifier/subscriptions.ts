/**
 * @module notifier/subscriptions
 * The two structs of the notifier layer as they lie in the kernel heap: the list of listeners that
 * an address space embeds (Linux: `struct mmu_notifier_subscriptions`) and the node that a listener
 * embeds as the first field of its own struct (`struct mmu_notifier`). Not the calls themselves:
 * those are in mmu-notifier.ts.
 *
 * The list is read without its lock, inside an SRCU read section, and changed under `notifierLock`:
 *
 *   N1  A node's `next` is not touched by unlinking, so a reader standing on an unlinked node still
 *       finds its way on.
 *   N2  A node's memory is freed only after a grace period that began after it was unlinked.
 */

import { type LockClass, lockClass } from "../sync/lock-class.ts";
import { atomicLoad, atomicStore } from "../sync/atomics.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import { Spinlock } from "../sync/primitives/spinlock.ts";
import type { Task } from "../sync/tasks/task.ts";
import { compareExchangeWord, readWord, writeWord } from "../sync/primitives/word-steps.ts";

const HEAD_WORD = Spinlock.WORDS;

/** Marks `prev` of a node that is in no list. Never a heap pointer: those are positive. */
const UNLINKED = -1;

/** The listeners of one address space. Embedded in the mm; guarded as the module head says. */
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

  init(): void {
    this.lock.init();
    atomicStore(this.memory.words, this.at + HEAD_WORD, 0);
  }

  /**
   * First node, or 0. A look for "nobody listens", or the begin of a walk inside an SRCU read
   * section.
   */
  first(): Task<number> {
    return readWord(this.memory, this.at + HEAD_WORD, LISTENERS);
  }

  /** Links `node` in front. Holding `notifierLock` and the mmap lock for writing. */
  *link(node: MmuNotifier): Task<void> {
    const { memory } = this;
    const first = atomicLoad(memory.words, this.at + HEAD_WORD);
    node.setNext(first);
    node.setPrev(0);
    if (first !== 0) new MmuNotifier(memory, first).setPrev(node.at);
    // Published last: a walker that sees the node sees its `next` too.
    yield* writeWord(memory, this.at + HEAD_WORD, node.at, LISTENERS);
  }

  /**
   * Unlinks `node`, keeping its `next` (N1). Holding `notifierLock`. False when exit has already
   * unlinked it.
   */
  *unlink(node: MmuNotifier): Task<boolean> {
    if (!node.isLinked()) return false;
    const { memory } = this;
    const next = node.nextLocked();
    const prev = node.prev();
    yield* writeWord(memory, prev === 0 ? this.at + HEAD_WORD : prev + NEXT_WORD, next, LISTENERS);
    if (next !== 0) new MmuNotifier(memory, next).setPrev(prev);
    node.setPrev(UNLINKED);
    return true;
  }
}

/** What reports call the words that are read without the lock under which they change. */
const LISTENERS = "listeners";

const NEXT_WORD = 0;
const PREV_WORD = 1;
const OPS_WORD = 2;
const RELEASED_WORD = 3;

/**
 * A listener's node. It must be the first field of the listener's struct, so that its address is
 * the listener's address.
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
    return readWord(this.memory, this.at + NEXT_WORD, LISTENERS);
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

  isLinked(): boolean {
    return this.prev() !== UNLINKED;
  }

  opsId(): number {
    return atomicLoad(this.memory.words, this.at + OPS_WORD);
  }

  /** True for the first caller only: that one calls the listener's release. */
  *claimRelease(): Task<boolean> {
    return (
      (yield* compareExchangeWord(
        this.memory,
        this.at + RELEASED_WORD,
        0,
        1,
        "claim to release",
      )) === 0
    );
  }
}
