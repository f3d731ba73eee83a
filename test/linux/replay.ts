/**
 * @module Replays a trace of the kernel's answers on address spaces of ours, step by step. Every answer must be the same, and after each change the mappings, but for the kinds of docs/LINUX.md
 * on which we mean to differ. Each of these has a condition of its own here, which must hold for the step at hand, and what ours does instead is checked as well:
 *
 *   H  mprotect over a hole: ENOMEM on both; the kernel has changed what lies before the hole, ours nothing.
 *   M  mremap under a byte limit: the kernel counts what grows, ours also what goes.
 *   N  mremap to a given place that fails late: the kernel has unmapped the place, ours nothing.
 *   O  mremap across neighbours that are one mapping of ours: the kernel keeps some apart, and says EFAULT.
 *   D  only on kernels before 6.17: mremap does not move several mappings.
 *
 * After such a step ours is brought to where the kernel is, so that the trace can go on.
 */

import { HmmError, type MmapOptions, SegmentationFault } from "../../src/index.ts";
import { type Place, type Step, type Trace, parsePlace, wordOf } from "./trace-text.ts";
import type { TracedSpace } from "./traced-space.ts";
import { PAGE_BYTES, WindowMap } from "./window-map.ts";

/** As in trace.c. */
const BASE = 2 ** 40;
/** One past our highest address. */
const END: number = (2 ** 32 - 512) * PAGE_BYTES;
/** The first kernel that moves several mappings at once. */
const MOVES_SEVERAL_SINCE = 6.17;

/** A step on which ours answers otherwise. */
export class Mismatch extends Error {}

/** How often each kind of difference was met. */
export type Kinds = Map<string, number>;

interface Replica {
  readonly space: TracedSpace;
  /** Where the mapping lies that the system placed itself; the kernel's own lies elsewhere. */
  guest: number;
  /** The kernel's window. */
  map: WindowMap;
  /** Pages at which the kernel has split a mapping for a call that then failed. */
  splits: ReadonlySet<number>;
}

const PROTECTIONS = { n: "none", r: "read", w: "read-write" } as const;

function protectionOf(letter: string): (typeof PROTECTIONS)[keyof typeof PROTECTIONS] {
  if (letter === "n" || letter === "r" || letter === "w") return PROTECTIONS[letter];
  throw new Error(`trace.c printed the protection ${letter}`);
}

const pagesOf = (lengthBytes: number): number => Math.ceil(lengthBytes / PAGE_BYTES);

/** The value, the signal of an access, or the name of the error. */
function answerOf(operation: () => number | void): string {
  try {
    return String(operation() ?? 0);
  } catch (error) {
    if (error instanceof SegmentationFault) return error.signal;
    if (error instanceof HmmError) return error.code;
    throw error;
  }
}

/** "6.18.44-x" as 6.18; comparing such numbers is comparing versions, as long as the second part has two digits or the first differs. */
function versionOf(release: string): number {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  return Number(major) + Number(minor) / 100;
}

interface MremapCall {
  readonly address: number;
  readonly oldLength: number;
  readonly newLength: number;
  readonly mayMove: boolean;
  readonly keepOld: boolean;
  readonly to: number | undefined;
}

export class Replay {
  readonly #trace: Trace;
  readonly #windowPages: number;
  readonly #version: number;
  readonly #replicas: Map<number, Replica> = new Map<number, Replica>();
  readonly kinds: Kinds;

  /** `first` is an empty address space with the trace's limit; it is the replay's from now on. */
  constructor(trace: Trace, kernel: string, windowPages: number, first: TracedSpace, kinds: Kinds) {
    this.#trace = trace;
    this.#windowPages = windowPages;
    this.#version = versionOf(kernel);
    this.kinds = kinds;
    this.#replicas.set(0, { space: first, guest: 0, map: WindowMap.parse(".".repeat(windowPages)), splits: new Set() });
  }

  /** Throws Mismatch at the first step on which ours differs. */
  run(): void {
    try {
      for (const [i, step] of this.#trace.steps.entries()) this.#step(step, i);
    } finally {
      for (const { space } of this.#replicas.values()) space.disposeSync();
    }
  }

  #step(step: Step, index: number): void {
    const replica = this.#replicas.get(step.space);
    if (replica === undefined) throw new Error(`trace.c uses space ${step.space}, which is none`);
    const fail = (text: string): never => {
      throw new Mismatch(`step ${index + 1}: ${step.line}\n${text}\nours is ${this.#mapOf(replica).toString()}`);
    };
    switch (step.call) {
      case "mmap":
        this.#mmap(replica, step, fail);
        break;
      case "munmap": {
        const [address, length] = this.#range(replica, step);
        this.#expect(
          step,
          answerOf(() => replica.space.munmapSync(address, length)),
          fail,
        );
        break;
      }
      case "mprotect":
        this.#mprotect(replica, step, fail);
        break;
      case "madvise": {
        const [address, length] = this.#range(replica, step);
        const advice = wordOf(step.args, 2) === "normal" ? "normal" : "dontneed";
        this.#expect(
          step,
          answerOf(() => replica.space.madviseSync(address, length, advice)),
          fail,
        );
        break;
      }
      case "mremap":
        this.#mremap(replica, step, fail);
        break;
      case "fork":
        this.#replicas.set(Number(wordOf(step.answer, 0)), { ...replica, space: replica.space.forkSync() });
        return;
      case "exit":
        replica.space.disposeSync();
        this.#replicas.delete(step.space);
        return;
      case "read":
      case "write":
        this.#copy(replica, step, fail);
        return;
      case "dump":
        this.#dump(replica, step, fail);
        return;
      default:
        this.#expect(step, this.#access(replica, step), fail);
        return;
    }
    this.#moveOn(replica, WindowMap.parse(wordOf(step.answer, 1)), step.answer[0] === "ENOMEM");
    const difference = replica.map.differenceTo(this.#mapOf(replica), replica.splits);
    if (difference !== undefined) fail(difference);
  }

  /** The kernel's window is `map` now. A call that failed for lack of room may have split mappings, at its range's ends, that the kernel does not join again (kind O). */
  #moveOn(replica: Replica, map: WindowMap, hasFailed: boolean): void {
    const splits = Array.from(map.starts).filter(
      (page) => replica.splits.has(page) || (hasFailed && !replica.map.starts.has(page)),
    );
    replica.splits = new Set(splits);
    replica.map = map;
  }

  #mapOf({ space }: Replica): WindowMap {
    return WindowMap.of(space.mapsSync(), BASE, this.#windowPages);
  }

  #met(kind: string): void {
    this.kinds.set(kind, (this.kinds.get(kind) ?? 0) + 1);
  }

  #expect(step: Step, ours: string, fail: (text: string) => never): void {
    if (ours !== step.answer[0]) fail(`ours answers ${ours}`);
  }

  #addressOf(replica: Replica, place: Place): number {
    const base = place.base === "w" ? BASE : place.base === "x" ? replica.guest : END;
    return base + place.offset;
  }

  #placed(replica: Replica, word: string): number {
    const place = parsePlace(word);
    return place === undefined ? 0 : this.#addressOf(replica, place);
  }

  #range(replica: Replica, step: Step): [address: number, lengthBytes: number] {
    return [this.#placed(replica, wordOf(step.args, 0)), Number(wordOf(step.args, 1))];
  }

  /** Compares where a mapping went: to the same place of the window, or on both anywhere outside it. */
  #expectPlace(replica: Replica, step: Step, ours: string, fail: (text: string) => never): void {
    const kernels = /^[wxe]-?\d+$/.test(wordOf(step.answer, 0)) ? parsePlace(wordOf(step.answer, 0)) : undefined;
    if (kernels === undefined) {
      this.#expect(step, ours, fail);
      return;
    }
    const address = Number(ours);
    if (Number.isNaN(address)) fail(`ours answers ${ours}`);
    const isOutside = address < BASE || address >= BASE + this.#windowPages * PAGE_BYTES;
    if (kernels.base === "x" && kernels.offset === 0 && isOutside) replica.guest = address;
    else if (this.#addressOf(replica, kernels) !== address) fail(`ours answers ${ours}`);
  }

  #mmap(replica: Replica, step: Step, fail: (text: string) => never): void {
    const [address, length] = this.#range(replica, step);
    const placement = wordOf(step.args, 4);
    const options: MmapOptions = {
      address,
      protection: protectionOf(wordOf(step.args, 2)),
      shared: wordOf(step.args, 3) === "shared",
      fixed: placement === "replace" || placement === "noreplace" ? placement : undefined,
    };
    this.#expectPlace(
      replica,
      step,
      answerOf(() => replica.space.mmapSync(length, options)),
      fail,
    );
  }

  #mprotect(replica: Replica, step: Step, fail: (text: string) => never): void {
    const [address, length] = this.#range(replica, step);
    const protection = protectionOf(wordOf(step.args, 2));
    const before = this.#mapOf(replica);
    const ours = answerOf(() => replica.space.mprotectSync(address, length, protection));
    this.#expect(step, ours, fail);
    if (ours !== "ENOMEM") return;
    if (this.#mapOf(replica).toString() !== before.toString()) fail("ours has failed, and changed something");
    const startPage = (address - BASE) / PAGE_BYTES;
    const holePage = before.firstHole(startPage, startPage + pagesOf(length));
    if (address >= END || holePage === startPage) return;
    this.#met("H");
    replica.space.mprotectSync(address, (holePage - startPage) * PAGE_BYTES, protection);
  }

  #mremap(replica: Replica, step: Step, fail: (text: string) => never): void {
    const [address, oldLength] = this.#range(replica, step);
    const flags = wordOf(step.args, 3);
    const to = wordOf(step.args, 4) === "none" ? undefined : this.#placed(replica, wordOf(step.args, 4));
    const call: MremapCall = {
      address,
      oldLength,
      newLength: Number(wordOf(step.args, 2)),
      mayMove: flags.includes("m"),
      keepOld: flags.includes("k"),
      to,
    };
    const kernels = wordOf(step.answer, 0);
    const hasFailed = kernels.startsWith("E");
    if (hasFailed && this.#isOtherwise(replica, call, kernels, fail)) {
      // Done on a fork of the space, and not on the space itself.
    } else {
      const before = hasFailed ? this.#mapOf(replica).toString() : "";
      this.#expectPlace(
        replica,
        step,
        answerOf(() => remap(replica.space, call)),
        fail,
      );
      if (hasFailed && this.#mapOf(replica).toString() !== before) fail("ours has failed, and changed something");
    }
    const after = WindowMap.parse(step.answer[1] ?? "");
    if (!hasFailed || to === undefined || after.toString() === replica.map.toString()) return;
    this.#met("N");
    this.#failLate(replica, { ...call, to }, after);
  }

  /**
   * Kind N: does to ours what the kernel has done before it failed, as its map says. It goes mapping by mapping: what is at the new place is unmapped, then the mapping moves. Holding to
   * `after` is checked by who calls.
   */
  #failLate(replica: Replica, call: MremapCall & { readonly to: number }, after: WindowMap): void {
    const { space, map } = replica;
    const { address, oldLength, newLength, to } = call;
    if (pagesOf(oldLength) !== pagesOf(newLength)) {
      space.munmapSync(to, newLength);
      return;
    }
    const startPage = (address - BASE) / PAGE_BYTES;
    for (const [first, end] of map.mappingsIn(startPage, startPage + pagesOf(oldLength))) {
      const piece = { ...call, address: BASE + first * PAGE_BYTES, to: to + (first - startPage) * PAGE_BYTES };
      const lengthBytes = (end - first) * PAGE_BYTES;
      space.munmapSync(piece.to, lengthBytes);
      if (this.#mapOf(replica).letters === after.letters) return;
      remap(space, { ...piece, oldLength: lengthBytes, newLength: lengthBytes });
    }
  }

  /** Tries on a fork what the kernel refuses. True when ours does it, or refuses it otherwise, and one of the kinds says why; false when both say the same. */
  #isOtherwise(replica: Replica, call: MremapCall, kernels: string, fail: (text: string) => never): boolean {
    const probe = replica.space.forkSync();
    const ours = answerOf(() => remap(probe, call));
    probe.disposeSync();
    if (ours === kernels) return false;
    const kind = this.#kindOf(replica, call, kernels, ours);
    if (kind === undefined) return fail(`ours answers ${ours}`);
    this.#met(kind);
    return true;
  }

  #kindOf(replica: Replica, call: MremapCall, kernels: string, ours: string): string | undefined {
    const { address, oldLength, newLength, keepOld, to } = call;
    const startPage = (address - BASE) / PAGE_BYTES;
    const pages = Math.min(pagesOf(oldLength), pagesOf(newLength));
    const mine = this.#mapOf(replica);
    const isDone = !ours.startsWith("E");
    if (kernels === "EFAULT" && (isDone || ours === "ENOMEM")) {
      const isApart =
        replica.map.hasBorder(startPage, startPage + pages) && !mine.hasBorder(startPage, startPage + pages);
      if (isApart) return "O";
      const isMovedOnly = to !== undefined && pagesOf(oldLength) === pagesOf(newLength);
      if (this.#version < MOVES_SEVERAL_SINCE && isMovedOnly && isDone) return "D";
    }
    // The one refusal that comes after the limit: a mapping that would be doubled onto itself.
    const isPastLimit = isDone || (ours === "EFAULT" && oldLength === 0 && to === address);
    if (kernels === "ENOMEM" && isPastLimit && to !== undefined && this.#trace.limitPages > 0) {
      const mapped = replica.space.mapsSync().reduce((sum, { start, end }) => sum + (end - start) / PAGE_BYTES, 0);
      const grows = keepOld ? pages : pagesOf(newLength) - pagesOf(oldLength);
      if (grows > 0 && mapped + grows > this.#trace.limitPages) return "M";
    }
    return undefined;
  }

  #access(replica: Replica, { call, args }: Step): string {
    const { space } = replica;
    const address = this.#placed(replica, wordOf(args, 0));
    const value = Number(args[2] ?? 0);
    const width = wordOf(args, 1);
    const accessor = width === "1" ? space.u8 : width === "2" ? space.u16 : space.u32;
    switch (call) {
      case "load":
        return answerOf(() => accessor.load(address));
      case "store":
        return answerOf(() => accessor.store(address, value));
      case "add":
        return answerOf(() => accessor.add(address, value));
      default:
        throw new Error(`trace.c printed the call ${call}`);
    }
  }

  /** Bulk copies end at the first page that may not be accessed; the kernel says how many bytes came before it. */
  #copy(replica: Replica, step: Step, fail: (text: string) => never): void {
    const [address, length] = this.#range(replica, step);
    const bytes = new Uint8Array(length);
    const isRead = step.call === "read";
    const seed = Number(wordOf(step.args, 2));
    if (!isRead) bytes.forEach((_, i) => (bytes[i] = seed + i * 7 + Math.floor(i / PAGE_BYTES)));
    let done = length;
    try {
      if (isRead) replica.space.readSync(address, bytes);
      else replica.space.writeSync(address, bytes);
    } catch (error) {
      if (!(error instanceof SegmentationFault) || error.address === undefined) throw error;
      done = error.address - address;
    }
    this.#expect(step, done === 0 ? "EFAULT" : String(done), fail);
    if (!isRead || done === 0) return;
    let sum = 0;
    for (const byte of bytes.subarray(0, done)) sum = (sum * 31 + byte) % 2 ** 32;
    if (String(sum) !== step.answer[1]) fail("ours reads other bytes");
  }

  #dump(replica: Replica, step: Step, fail: (text: string) => never): void {
    for (const [page, expected] of step.answer.entries()) {
      const ours = answerOf(() => replica.space.u32.load(BASE + page * PAGE_BYTES));
      if (ours !== expected) fail(`page ${page} is ${ours}`);
    }
  }
}

function remap(space: TracedSpace, { address, oldLength, newLength, mayMove, keepOld, to }: MremapCall): number {
  return space.mremapSync(address, oldLength, newLength, { mayMove, keepOld, ...(to === undefined ? {} : { to }) });
}
