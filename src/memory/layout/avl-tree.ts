/**
 * @module memory/layout/avl-tree
 * Balanced trees of objects in the kernel heap: an AVL tree, because it has the least code of the
 * balanced trees, and favours lookups. Each node remembers the highest of a number over its
 * subtree, so a search skips subtrees (Linux: the augmented red-black tree, and the interval tree
 * above it). The nodes are the objects themselves, as pointers and not as views (S4 of struct.ts).
 *
 * A change goes down once, keeps the way, and goes up only as far as something changes. A root is a
 * pointer, 0 for no node. A change answers the root from then on; the caller keeps it where it
 * belongs. Everything here holds the lock that guards the tree, and waits for nothing.
 *
 *   T1  height(node) = 1 + max(height of its two sides). The two differ by at most 1.
 *   T2  highest(node) = max(own number, both sides').
 */

import { bug } from "../../sync/errors.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { formatPointer } from "./poison.ts";
import type { PlainField } from "./struct.ts";

/** What distinguishes one kind of tree from another. */
export interface TreeShape {
  readonly left: PlainField;
  readonly right: PlainField;
  readonly height: PlainField;
  readonly highest: PlainField;
  /** Whether node `a` comes before node `b`. No two nodes of a tree are in the same place. */
  isBefore(memory: SharedMemory, a: number, b: number): boolean;
  /** The number of which subtrees remember the highest. Unsigned. */
  ownNumber(memory: SharedMemory, at: number): number;
}

/** The nodes from the root down to the place of a change: more than any tree is high (T1). */
const way: Int32Array = new Int32Array(64);

export class AvlTree {
  readonly #left: PlainField;
  readonly #right: PlainField;
  readonly #height: PlainField;
  readonly #highest: PlainField;
  readonly #shape: TreeShape;

  constructor(shape: TreeShape) {
    this.#left = shape.left;
    this.#right = shape.right;
    this.#height = shape.height;
    this.#highest = shape.highest;
    this.#shape = shape;
  }

  /** The highest number below a root, 0 of no node. */
  highestOf(memory: SharedMemory, at: number): number {
    return at === 0 ? 0 : this.#highest.load(memory, at);
  }

  /** Links a node that is in no tree. */
  insert(memory: SharedMemory, root: number, fresh: number): number {
    const depth = this.#wayTo(memory, root, fresh);
    if (depth < 0) bug(`Cannot add node ${formatPointer(fresh)} to its tree: it is there already`);
    this.#left.store(memory, fresh, 0);
    this.#right.store(memory, fresh, 0);
    this.#refresh(memory, fresh);
    if (depth === 0) return fresh;
    const parent = way[depth - 1]!;
    const isLeft = this.#shape.isBefore(memory, fresh, parent);
    (isLeft ? this.#left : this.#right).store(memory, parent, fresh);
    return this.#mend(memory, root, depth);
  }

  /**
   * Unlinks a node. The next one takes the place of a node with two sides: it is relinked and not
   * copied, because others point to it.
   */
  remove(memory: SharedMemory, root: number, node: number): number {
    let depth = this.#knownWayTo(memory, root, node);
    const left = this.#left.load(memory, node);
    const right = this.#right.load(memory, node);
    if (left === 0 || right === 0) {
      const rest = this.#replaceChild(memory, root, depth, node, left === 0 ? right : left);
      return this.#mend(memory, rest, depth);
    }
    const place = depth++;
    let heir = right;
    for (let at = this.#left.load(memory, heir); at !== 0; at = this.#left.load(memory, heir)) {
      way[depth++] = heir;
      heir = at;
    }
    if (heir !== right) {
      this.#left.store(memory, way[depth - 1]!, this.#right.load(memory, heir));
      this.#right.store(memory, heir, right);
    }
    this.#left.store(memory, heir, left);
    // What the place had: `#mend` compares with it.
    this.#height.store(memory, heir, this.#height.load(memory, node));
    this.#highest.store(memory, heir, this.#highest.load(memory, node));
    let rest = this.#replaceChild(memory, root, place, node, heir);
    way[place] = heir;
    rest = this.#mend(memory, rest, depth);
    // The place has changed even if nothing below it has.
    return this.#mend(memory, rest, place + 1);
  }

  /** Restores T2 after a node's own number has changed; its place has not. */
  update(memory: SharedMemory, root: number, node: number): number {
    if (!this.#refresh(memory, node)) return root;
    return this.#mend(memory, root, this.#knownWayTo(memory, root, node));
  }

  /** Fills the way to `node`, without it. Returns its length, or -1 - length if it is there. */
  #wayTo(memory: SharedMemory, root: number, node: number): number {
    let depth = 0;
    for (let at = root; at !== 0; depth++) {
      if (at === node) return -1 - depth;
      way[depth] = at;
      at = (this.#shape.isBefore(memory, node, at) ? this.#left : this.#right).load(memory, at);
    }
    return depth;
  }

  #knownWayTo(memory: SharedMemory, root: number, node: number): number {
    const found = this.#wayTo(memory, root, node);
    if (found >= 0) bug(`Cannot find node ${formatPointer(node)} in its tree: it was not added`);
    return -1 - found;
  }

  #heightOf(memory: SharedMemory, at: number): number {
    return at === 0 ? 0 : this.#height.load(memory, at);
  }

  /** Restores the height (T1) and T2 of one node from its sides. Returns whether either changes. */
  #refresh(memory: SharedMemory, at: number): boolean {
    const left = this.#left.load(memory, at);
    const right = this.#right.load(memory, at);
    const height = Math.max(this.#heightOf(memory, left), this.#heightOf(memory, right));
    return this.#settle(memory, at, left, right, height + 1);
  }

  /** The same of a node whose sides, and height above them, are known. */
  #settle(memory: SharedMemory, at: number, left: number, right: number, height: number): boolean {
    const sides = Math.max(this.highestOf(memory, left), this.highestOf(memory, right));
    const highest = Math.max(this.#shape.ownNumber(memory, at), sides);
    const isHeight = height === this.#height.load(memory, at);
    const isHighest = highest === this.#highest.load(memory, at);
    if (!isHeight) this.#height.store(memory, at, height);
    if (!isHighest) this.#highest.store(memory, at, highest);
    return !isHeight || !isHighest;
  }

  #rotateRight(memory: SharedMemory, at: number): number {
    const pivot = this.#left.load(memory, at);
    this.#left.store(memory, at, this.#right.load(memory, pivot));
    this.#right.store(memory, pivot, at);
    this.#refresh(memory, at);
    this.#refresh(memory, pivot);
    return pivot;
  }

  #rotateLeft(memory: SharedMemory, at: number): number {
    const pivot = this.#right.load(memory, at);
    this.#right.store(memory, at, this.#left.load(memory, pivot));
    this.#left.store(memory, pivot, at);
    this.#refresh(memory, at);
    this.#refresh(memory, pivot);
    return pivot;
  }

  /** How much higher the left side is. */
  #tiltOf(memory: SharedMemory, at: number): number {
    const left = this.#heightOf(memory, this.#left.load(memory, at));
    return left - this.#heightOf(memory, this.#right.load(memory, at));
  }

  /**
   * Restores T1 at a node whose sides keep it and differ by 2. Returns the root of the subtree.
   */
  #rotate(memory: SharedMemory, at: number, tilt: number): number {
    if (tilt > 0) {
      const left = this.#left.load(memory, at);
      if (this.#tiltOf(memory, left) < 0)
        this.#left.store(memory, at, this.#rotateLeft(memory, left));
      return this.#rotateRight(memory, at);
    }
    const right = this.#right.load(memory, at);
    if (this.#tiltOf(memory, right) > 0)
      this.#right.store(memory, at, this.#rotateRight(memory, right));
    return this.#rotateLeft(memory, at);
  }

  /** Puts `fresh` where `old` is, below the last of `depth` nodes of the way. */
  #replaceChild(
    memory: SharedMemory,
    root: number,
    depth: number,
    old: number,
    fresh: number,
  ): number {
    if (depth === 0) return fresh;
    const parent = way[depth - 1]!;
    const isLeft = this.#left.load(memory, parent) === old;
    (isLeft ? this.#left : this.#right).store(memory, parent, fresh);
    return root;
  }

  /**
   * Restores T1 and T2 from the last of `depth` nodes of the way up. A subtree that has the same
   * root, height and highest number as before changes nothing above it. One that has only a higher
   * number than before raises those above, as far as they are lower, and no other node is looked
   * at: whoever unmaps one mapping after the other widens one hole, and this goes up to the root.
   */
  #mend(memory: SharedMemory, root: number, depth: number): number {
    let top = root;
    for (let i = depth - 1; i >= 0; i--) {
      const at = way[i]!;
      const left = this.#left.load(memory, at);
      const right = this.#right.load(memory, at);
      const leftHeight = this.#heightOf(memory, left);
      const rightHeight = this.#heightOf(memory, right);
      const tilt = leftHeight - rightHeight;
      if (tilt > 1 || tilt < -1) {
        top = this.#replaceChild(memory, top, i, at, this.#rotate(memory, at, tilt));
        continue;
      }
      const height = this.#height.load(memory, at);
      const highest = this.#highest.load(memory, at);
      if (!this.#settle(memory, at, left, right, 1 + Math.max(leftHeight, rightHeight))) break;
      const raised = this.#highest.load(memory, at);
      if (raised > highest && height === this.#height.load(memory, at)) {
        this.#raise(memory, i, raised);
        break;
      }
    }
    return top;
  }

  /** T2 of the first `depth` nodes of the way, of which the last one's side has a higher number. */
  #raise(memory: SharedMemory, depth: number, highest: number): void {
    for (let i = depth - 1; i >= 0; i--) {
      const at = way[i]!;
      if (this.#highest.load(memory, at) >= highest) return;
      this.#highest.store(memory, at, highest);
    }
  }
}
