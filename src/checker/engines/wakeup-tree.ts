/**
 * @module Wakeup trees: the sequences of steps that an optimal search still has to try at a depth.
 * Each leads to executions of classes that were not seen yet (Abdulla, Aronis, Jonsson, Sagonas,
 * "Source Sets", JACM 2017, section 6).
 *
 * Between two executions, all that a search still has to do is such a tree, too: a node that was
 * {@link Begun} has the sleep set after its step, and its children are what is left to try there.
 * Checkpoints have this form.
 */

import type { Footprints } from "../steps/footprint.ts";
import type { Transition } from "../steps/trace.ts";

/**
 * One step of a sequence. A node without children ends a sequence: after it, any order is tried.
 */
export interface WakeupNode {
  readonly transition: Transition;
  readonly footprint: number;
  readonly children: WakeupNode[];
  /** If set, a part of what begins with this step was explored; the children are what is left. */
  readonly begun?: Begun;
}

export interface Begun {
  /** The sleep set after the step. */
  readonly sleepers: readonly SleepEntry[];
  /** How many continuations of the step have been explored completely. */
  readonly tried: number;
}

export interface SleepEntry {
  readonly transition: Transition;
  readonly footprint: number;
}

export function wakeupNode(transition: Transition, footprint: number): WakeupNode {
  return { transition, footprint, children: [] };
}

/**
 * Nodes in a form that does not depend on one exploration's numbers of footprints. It is flat,
 * because a sequence may be long.
 */
export interface PortableNodes {
  /** What each footprint touches. The other lists refer to footprints by their index here. */
  readonly footprints: readonly (readonly number[])[];
  /**
   * In depth-first order, for each node: transition, footprint, number of children, index in
   * `begun` + 1 or 0.
   */
  readonly nodes: readonly number[];
  readonly begun: readonly PortableBegun[];
}

interface PortableBegun {
  readonly tried: number;
  /** Transition, footprint, transition, footprint, ... */
  readonly sleepers: readonly number[];
}

const FIELDS = 4;

/** Exports nodes, with all nodes below them, from an exploration. */
export function exportNodes(roots: readonly WakeupNode[], footprints: Footprints): PortableNodes {
  const numbers = new Map<number, number>();
  const described: number[][] = [];
  const numberOf = (footprint: number): number => {
    let number = numbers.get(footprint);
    if (number === undefined) {
      number = described.push(footprints.describe(footprint)) - 1;
      numbers.set(footprint, number);
    }
    return number;
  };
  const nodes: number[] = [];
  const begun: PortableBegun[] = [];
  const stack = roots.toReversed();
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    let place = 0;
    if (node.begun !== undefined) {
      const sleepers = node.begun.sleepers.flatMap(({ transition, footprint }) => [
        transition,
        numberOf(footprint),
      ]);
      place = begun.push({ tried: node.begun.tried, sleepers });
    }
    nodes.push(node.transition, numberOf(node.footprint), node.children.length, place);
    for (let i = node.children.length - 1; i >= 0; i--) stack.push(node.children[i]!);
  }
  return { footprints: described, nodes, begun };
}

/**
 * Imports them into another exploration of the same scenario. Throws RangeError if the numbers are
 * not consistent.
 */
export function importNodes(portable: PortableNodes, footprints: Footprints): WakeupNode[] {
  const numbers = portable.footprints.map((described) => footprints.adopt(described));
  const numberOf = (footprint: number): number => {
    const number = numbers[footprint];
    if (number === undefined) throw new RangeError(`there is no footprint ${footprint}`);
    return number;
  };
  const begunOf = (place: number): { readonly begun?: Begun } => {
    if (place === 0) return {};
    const from = portable.begun[place - 1];
    if (from === undefined) throw new RangeError(`there is no beginning ${place}`);
    const sleepers: SleepEntry[] = [];
    for (let i = 0; i < from.sleepers.length; i += 2) {
      sleepers.push({ transition: from.sleepers[i]!, footprint: numberOf(from.sleepers[i + 1]!) });
    }
    return { begun: { tried: from.tried, sleepers } };
  };
  const roots: WakeupNode[] = [];
  const open: { readonly children: WakeupNode[]; left: number }[] = [];
  for (let at = 0; at < portable.nodes.length; at += FIELDS) {
    const [transition = 0, footprint = 0, left = 0, place = 0] = portable.nodes.slice(
      at,
      at + FIELDS,
    );
    const node = { transition, footprint: numberOf(footprint), children: [], ...begunOf(place) };
    while (open.at(-1)?.left === 0) open.pop();
    const parent = open.at(-1);
    if (parent === undefined) roots.push(node);
    else {
      parent.children.push(node);
      parent.left--;
    }
    open.push({ children: node.children, left });
  }
  return roots;
}
