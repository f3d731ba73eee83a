/**
 * @module Wakeup trees: what an optimal search still has to try at a depth, as sequences of steps
 * that are sure to lead to executions of classes not yet seen (Abdulla, Aronis, Jonsson, Sagonas,
 * "Source Sets", JACM 2017, section 6).
 *
 * A search can be taken apart between two executions and go on elsewhere, since what it still has
 * to do is such a tree as well: a node that was {@link Begun} says who sleeps behind its step, and
 * its children are what is left to try there. The same form goes into checkpoints and to other
 * threads.
 */

import type { Footprints } from "../steps/footprint.ts";
import type { Transition } from "../steps/trace.ts";

/**
 * One step of a sequence. A node without children is the end of one: from there on any order will
 * do.
 */
export interface WakeupNode {
  readonly transition: Transition;
  readonly footprint: number;
  readonly children: WakeupNode[];
  /** Part of what begins with this step was explored already; the children are all that is left. */
  readonly begun?: Begun;
}

export interface Begun {
  /** What is not to be explored after the step. */
  readonly sleepers: readonly Sleeper[];
  /** How many continuations of the step were explored to the end. */
  readonly tried: number;
}

export interface Sleeper {
  readonly transition: Transition;
  readonly footprint: number;
}

export function wakeupNode(transition: Transition, footprint: number): WakeupNode {
  return { transition, footprint, children: [] };
}

/**
 * Nodes without numbers that mean something in one exploration only, and flat, since a sequence may
 * be long.
 */
export interface PortableNodes {
  /** What the footprints touch, by their number in the other lists. */
  readonly footprints: readonly (readonly number[])[];
  /**
   * In depth-first order: transition, footprint, how many children follow, which of `begun` + 1 or
   * 0.
   */
  readonly nodes: readonly number[];
  readonly begun: readonly PortableBegun[];
}

interface PortableBegun {
  readonly tried: number;
  /** Transition, footprint, and so on. */
  readonly sleepers: readonly number[];
}

const FIELDS = 4;

/** Takes nodes, with all below them, out of an exploration. */
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
 * Brings them into another exploration of the same scenario. Throws RangeError for numbers that
 * make no sense.
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
    const sleepers: Sleeper[] = [];
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
