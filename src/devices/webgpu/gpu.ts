/**
 * @module devices/webgpu/gpu
 * A GPU as the paging uses it: a pool of frames, a page table, passes, and what they answer. The
 * real one is real-gpu.ts; the checker explores the driver with a model of one behind the same
 * interface. What must be waited for is a task.
 */

import type { Task } from "../../driver-interface.ts";
import type { TableLayout } from "./wgsl/layout.ts";

/** What a pass runs. Made by whoever makes the Gpu, which alone looks inside. */
export interface GpuProgram {
  readonly name: string;
  /**
   * What it stores, it does not load, and an invocation that has missed stores nothing any more:
   * whatever a pass has stored, the same chunk stores again (V5 of chunk.ts).
   */
  readonly isPure?: boolean;
}

/** What a dispatch has bound for its kernel's own variables. Made as a program is. */
export interface GpuBound {
  /** The chunk that has run is committed. */
  keep(): void;
  /** The dispatch is over: what was not kept is undone. */
  end(): void;
}

/** One run of a chunk: workgroups [first, end) of a dispatch. */
export interface GpuPass {
  readonly program: GpuProgram;
  readonly first: number;
  readonly end: number;
  readonly groups: readonly [number, number, number];
  /** Lists what missed; else notes only that something missed. */
  readonly isRecording: boolean;
  /** Notes which frames were used; else only those with GPU_WATCHED. Where it is recording. */
  readonly isUseNoted: boolean;
  /** No store reaches a page. */
  readonly isTouch: boolean;
  /** Workgroups that run, in place of all; each of the chunk. Of a recording pass. */
  readonly replay: Uint32Array<ArrayBuffer> | undefined;
  /** Rounds of loops that each invocation may make. */
  readonly fuel: number;
  readonly args: readonly number[];
  /** Address that word 0 of the u32 form means. */
  readonly window: number;
  /** Undefined: the kernel has no variables of its own. */
  readonly bound: GpuBound | undefined;
}

/** An access that missed. */
export interface GpuFault {
  readonly address: number;
  /** There where a number cannot hold it: `address` is that of its page then. */
  readonly exactAddress?: bigint;
  readonly isWrite: boolean;
  readonly workgroup: number;
}

export interface PassResult {
  readonly missed: boolean;
  /** Some invocation ran out of fuel. */
  readonly spent: boolean;
  /** Of a recording pass: one for each page and access, in the order in which they were noted. */
  readonly faults: readonly GpuFault[];
  /**
   * DIRTY of each frame, and USED if that was to be noted; of frames in rows, too. Valid until the
   * next pass.
   */
  readonly flags: Uint32Array;
  /**
   * Of a recording pass, if they are not too many: the workgroups with an invocation that missed,
   * or ran out of fuel. One may be named twice.
   */
  readonly missedGroups: Uint32Array<ArrayBuffer> | undefined;
}

/** Pages that are staged at once, at most. */
export const STAGED_PAGES = 64;

/** The device was lost. All that it held is gone. */
export const LOST = "lost";
export type Lost = typeof LOST;

export interface Gpu {
  /** Frames of the pool, FIRST_FRAME included. */
  readonly frames: number;
  readonly isLost: boolean;
  /**
   * Waits until `stage` finds room for so many pages, as long as the GPU has it: perhaps for the
   * end of a pass. Holding no lock.
   */
  haveRoom(pages: number): Task<void>;
  /**
   * Room for so many pages, at most STAGED_PAGES, for `writeFrames` to take them from, without a
   * wait in between. It is to be written only: reading may be very slow.
   */
  stage(pages: number): Uint8Array<ArrayBuffer>;
  /** Stores `frames.length` pages from `bytes`, in their order, before the next pass. */
  writeFrames(frames: readonly number[], bytes: Uint8Array<ArrayBuffer>): void;
  /** Changes words of the page table before the next pass: all of them if the layout is new. */
  writeTable(firstWord: number, words: Uint32Array<ArrayBuffer>, layout: TableLayout): void;
  run(pass: GpuPass): Task<PassResult | Lost>;
  /** Copies frames to slots of the backups, before the next pass. */
  backUp(frames: readonly number[], slots: readonly number[]): void;
  /** And back. */
  restore(frames: readonly number[], slots: readonly number[]): void;
  /**
   * The pages of frames, in their order, as the last pass left them. Valid until others are read.
   */
  readFrames(frames: readonly number[]): Task<Uint8Array<ArrayBuffer> | Lost>;
}
