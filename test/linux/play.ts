/**
 * @module One step of a trace beside the same step on an address space of ours: what both have in
 * common, whatever the call. The calls are in mapping-steps.ts, mremap-step.ts, access-steps.ts.
 */

import { HmmError, SegmentationFault } from "../../src/index.ts";
import { type Step, type Trace, parsePlace, wordOf } from "./trace-text.ts";
import type { TracedSpace } from "./traced-space.ts";
import { PAGE_BYTES, WindowMap } from "./window-map.ts";

/** As in trace.h. */
export const BASE: number = 2 ** 40;
/** One past our highest address. */
const END: number = (2 ** 32 - 512) * PAGE_BYTES;

/** A step on which ours answers otherwise. */
export class Mismatch extends Error {}

/** A step after which the trace cannot go on: what the kernel has done is not to be seen. */
export class Undecided extends Error {}

/** What all steps of a trace share. */
export interface Scene {
  readonly trace: Trace;
  /** The kernel's version as a number: 6.17. */
  readonly version: number;
  readonly windowPages: number;
  /** How often each kind of difference was met. */
  readonly kinds: Map<string, number>;
}

/** One address space of ours, and what is known of the kernel's. */
export interface Replica {
  readonly space: TracedSpace;
  /** Where the mapping lies that the system placed itself; the kernel's own lies elsewhere. */
  guest: number;
  /** The kernel's window. */
  map: WindowMap;
  /** Pages at which the kernel has split a mapping for a call that then failed. */
  splits: ReadonlySet<number>;
}

/**
 * "6.18.44-x" as 6.18. Versions compare as these numbers do while the second part has two digits.
 */
export function versionOf(release: string): number {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  return Number(major) + Number(minor) / 100;
}

export const pagesOf = (lengthBytes: number): number => Math.ceil(lengthBytes / PAGE_BYTES);

/** The value, the signal of an access, or the name of the error. */
export function answerOf(operation: () => number | void): string {
  try {
    return String(operation() ?? 0);
  } catch (error) {
    if (error instanceof SegmentationFault) return error.signal;
    if (error instanceof HmmError) return error.code;
    throw error;
  }
}

export class Play {
  readonly scene: Scene;
  readonly replica: Replica;
  readonly step: Step;
  readonly #number: number;

  constructor(scene: Scene, replica: Replica, step: Step, number: number) {
    this.scene = scene;
    this.replica = replica;
    this.step = step;
    this.#number = number;
  }

  get space(): TracedSpace {
    return this.replica.space;
  }

  /** What the kernel answered. */
  get kernels(): string {
    return wordOf(this.step.answer, 0);
  }

  /** The kernel's window after a call that may change mappings. */
  get after(): WindowMap {
    return WindowMap.parse(wordOf(this.step.answer, 1));
  }

  /** Our window. */
  get ours(): WindowMap {
    return WindowMap.of(this.space.mapsSync(), BASE, this.scene.windowPages);
  }

  fail(text: string): never {
    const { line } = this.step;
    throw new Mismatch(`step ${this.#number}: ${line}\n${text}\nours is ${this.ours.toString()}`);
  }

  met(kind: string): void {
    const { kinds } = this.scene;
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }

  /** Argument `index`, which is a word. */
  arg(index: number): string {
    return wordOf(this.step.args, index);
  }

  /** Argument `index`, which is an address; 0 when there is none. */
  address(index: number): number {
    return this.#placed(this.arg(index)) ?? 0;
  }

  /** The first two arguments of many calls. */
  range(): [address: number, lengthBytes: number] {
    return [this.address(0), Number(this.arg(1))];
  }

  #placed(word: string): number | undefined {
    const place = parsePlace(word);
    if (place === undefined) return undefined;
    const base = place.base === "w" ? BASE : place.base === "x" ? this.replica.guest : END;
    return base + place.offset;
  }

  expect(ours: string): void {
    if (ours !== this.kernels) this.fail(`ours answers ${ours}`);
  }

  /**
   * Compares where a mapping went: to the same place of the window, or anywhere outside on both.
   */
  expectPlace(ours: string): void {
    const { kernels } = this;
    if (!/^[wxe]-?\d+$/.test(kernels)) {
      this.expect(ours);
      return;
    }
    const address = Number(ours);
    if (Number.isNaN(address)) this.fail(`ours answers ${ours}`);
    const page = Math.floor((address - BASE) / PAGE_BYTES);
    const isOutside = page < 0 || page >= this.scene.windowPages;
    if (kernels === "x0" && isOutside) this.replica.guest = address;
    else if (this.#placed(kernels) !== address) this.fail(`ours answers ${ours}`);
  }

  /** Does a step that the kernel refuses: ours must say the same, and change nothing. */
  expectRefusal(run: (space: TracedSpace) => number | void): void {
    const before = this.ours.toString();
    this.expect(answerOf(() => run(this.space)));
    if (this.ours.toString() !== before) this.fail("ours has failed, and changed something");
  }

  /** What ours answers, found out on a fork of the space. */
  probe(run: (space: TracedSpace) => number | void): string {
    const fork = this.space.forkSync();
    const answer = answerOf(() => run(fork));
    fork.disposeSync();
    return answer;
  }

  /**
   * Kind E': true where the kernel says ENOMEM with at most `room` mappings left, and ours answers
   * otherwise; then the step is not to be done on the space itself. What the kernel needs in
   * between is more than what is there afterwards.
   */
  isPastLimit(run: (space: TracedSpace) => number | void, room: number): boolean {
    const { of, count } = this.scene.trace.limit;
    if (of !== "mappings" || this.kernels !== "ENOMEM") return false;
    if (count - this.replica.map.starts.size > room || this.probe(run) === "ENOMEM") return false;
    this.met("E'");
    return true;
  }

  /**
   * After a call that may change mappings: the windows are the same. A call that failed for lack of
   * room may have split mappings that the kernel does not join again (kind O).
   */
  compareWindows(): void {
    const { replica, after } = this;
    const hasFailed = this.kernels === "ENOMEM";
    const splits = Array.from(after.starts).filter(
      (page) => replica.splits.has(page) || (hasFailed && !replica.map.starts.has(page)),
    );
    replica.splits = new Set(splits);
    replica.map = after;
    const difference = after.differenceTo(this.ours, replica.splits);
    if (difference !== undefined) this.fail(difference);
  }
}
