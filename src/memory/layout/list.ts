/**
 * @module memory/layout/list
 * Intrusive doubly linked lists (Linux `include/linux/list.h`). A node is two words, `next` and
 * `prev`, embedded in the object that is listed; the list's head is such a node too, pointing at
 * itself when the list is empty. Which lock guards a list is said by the struct that embeds its
 * head; every function here is called with it held.
 *
 *   L1  A node is in at most one list. A node that was never listed is {0, 0}; one that was removed
 *       is poisoned. To `add` any other node is an assertion failure. So is to `del` a node that is
 *       in no list, or whose neighbours do not link to it.
 *   L2  During an iteration only the node that was yielded last may be removed.
 *   L3  A change with a `lock` is in the undo log of that lock (sync/words/undo-log.ts). One
 *       without is half done if its thread dies in it.
 */

import { bug } from "../../sync/errors.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { undoStore } from "../../sync/words/undo-log.ts";
import { LIST_POISON_NEXT, LIST_POISON_PREV, formatPointer } from "./poison.ts";

const NEXT = 0;
const PREV = 1;

/** A list's head, or a listed object's node: `embed(List, "...")` either way. */
export class List {
  /** Words that one takes. */
  static readonly WORDS = 2;

  /** The memory that it lies in. */
  readonly memory: SharedMemory;
  /** Pointer of the node itself; `Struct.containerOf` leads to the object. */
  readonly at: number;

  constructor(memory: SharedMemory, at: number) {
    this.memory = memory;
    this.at = at;
  }

  /** Makes this node the head of an empty list. */
  init(): void {
    this.#link(this.at, this.at);
  }

  /** Pointer of the node after this one; of the head itself at the end of the list. */
  get next(): number {
    return this.#read(this.at + NEXT);
  }

  /** Pointer of the entry before it; of the head: of the last entry. */
  get prev(): number {
    return this.#read(this.at + PREV);
  }

  /** Only of a head. */
  isEmpty(): boolean {
    return this.next === this.at;
  }

  /** Only of an object's node: whether it is in a list now. */
  isListed(): boolean {
    return this.next !== 0 && this.next !== LIST_POISON_NEXT;
  }

  /** First node's pointer, or 0. Only of a head. */
  first(): number {
    return this.isEmpty() ? 0 : this.next;
  }

  /** Puts `node` in front. With `lock` it is undone if this thread dies with that lock (L3). */
  add(node: List, lock: number = 0): void {
    this.#insert(node, this.at, this.next, lock);
  }

  /** Puts `node` last. */
  addTail(node: List, lock: number = 0): void {
    this.#insert(node, this.prev, this.at, lock);
  }

  /** Removes this node from its list and poisons it. */
  del(lock: number = 0): void {
    const { next, prev } = this;
    if (next === 0 || next === LIST_POISON_NEXT || prev === LIST_POISON_PREV) {
      bug(`Cannot take node ${formatPointer(this.at)} off a list: it is in none; take it off once`);
    }
    if (this.#read(next + PREV) !== this.at || this.#read(prev + NEXT) !== this.at) {
      bug(
        `Cannot take node ${formatPointer(this.at)} off its list: its neighbours are not linked to it; hold the list's lock`,
      );
    }
    this.#write(next + PREV, prev, lock);
    this.#write(prev + NEXT, next, lock);
    this.#link(LIST_POISON_NEXT, LIST_POISON_PREV, lock);
  }

  /** Node pointers from first to last (L2). */
  *nodes(): Generator<number, void, undefined> {
    for (let node = this.next; node !== this.at;) {
      const next = this.#read(node + NEXT);
      yield node;
      node = next;
    }
  }

  #insert(node: List, prev: number, next: number, lock: number): void {
    const old = node.next;
    if (old !== 0 && old !== LIST_POISON_NEXT) {
      bug(`Cannot list node ${formatPointer(node.at)}: it is in a list already; take it off first`);
    }
    node.#link(next, prev, lock);
    this.#write(next + PREV, node.at, lock);
    this.#write(prev + NEXT, node.at, lock);
  }

  #link(next: number, prev: number, lock: number = 0): void {
    this.#write(this.at + NEXT, next, lock);
    this.#write(this.at + PREV, prev, lock);
  }

  #read(index: number): number {
    // a node beyond a heap that grew meanwhile
    if (index >= this.memory.words.length) this.memory.ensure(index + 1);
    this.memory.plainWatch?.note(index, false, "list");
    return this.memory.words[index]!;
  }

  #write(index: number, value: number, lock: number): void {
    if (index >= this.memory.words.length) this.memory.ensure(index + 1);
    this.memory.plainWatch?.note(index, true, "list");
    if (lock === 0) this.memory.words[index] = value;
    else undoStore(this.memory, lock, index, value);
  }
}
