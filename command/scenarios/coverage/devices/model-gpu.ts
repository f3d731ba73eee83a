/**
 * @module A GPU for the explorer, behind the interface of the real one: a pool, a table, passes
 * that answer later. Its memory is its own, so only when it answers matters to other threads.
 */

import type { Cell } from "../../../../src/checker/primitives/program.ts";
import {
  type Gpu,
  type GpuFault,
  type GpuPass,
  type GpuProgram,
  LOST,
  type Lost,
  type PassResult,
} from "../../../../src/devices/webgpu/gpu.ts";
import type { WebGpuRecord } from "../../../../src/devices/webgpu-record/record.ts";
import {
  DIRTY,
  GPU_FRAME_SHIFT,
  GPU_READ,
  GPU_WATCHED,
  GPU_WRITE,
  SINK_FRAME,
  USED,
  ZERO_FRAME,
} from "../../../../src/devices/webgpu/wgsl/layout.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { assertNoLockHeld } from "../../../../src/sync/lockdep/held-locks.ts";
import { hasAgentDied, liveAgent } from "../../../../src/sync/tasks/identity.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";

const PAGE_WORDS: number = PAGE_BYTES / 4;

/** What a workgroup of a model's program may do. */
export interface ModelAccess {
  load(address: number): number;
  store(address: number, value: number): void;
}

/** A kernel for the model. */
export interface ModelProgram extends GpuProgram {
  /** Default 1. */
  readonly workgroups?: number;
  readonly workgroup: (access: ModelAccess, workgroup: number) => void;
}

export class ModelGpu implements Gpu {
  readonly frames: number;
  isLost = false;
  protected readonly record: WebGpuRecord;
  readonly #pool: Uint32Array<ArrayBuffer>;
  readonly #losses: Cell;
  readonly #number: number;
  readonly #backups = new Map<number, Uint32Array<ArrayBuffer>>();
  #table = new Uint32Array(0);
  /** Who waits for an answer, or 0. */
  #waiting = 0;

  /** `number`: how many GPUs of the device were lost before. More in `losses`, and it is lost. */
  constructor(record: WebGpuRecord, frames: number, losses: Cell, number: number) {
    this.record = record;
    this.#losses = losses;
    this.#number = number;
    this.frames = frames;
    this.#pool = new Uint32Array(frames * PAGE_WORDS);
  }

  wordOf(frame: number, index: number): number {
    return this.#pool[frame * PAGE_WORDS + index] ?? 0;
  }

  *haveRoom(): Task<void> {}

  stage(pages: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(pages * PAGE_BYTES);
  }

  writeFrames(frames: readonly number[], bytes: Uint8Array<ArrayBuffer>): void {
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, frames.length * PAGE_WORDS);
    for (const [i, frame] of frames.entries()) {
      const page = words.subarray(i * PAGE_WORDS, (i + 1) * PAGE_WORDS);
      this.#pool.set(page, frame * PAGE_WORDS);
    }
  }

  writeTable(
    firstWord: number,
    words: Uint32Array<ArrayBuffer>,
    layout: { readonly words: number },
  ): void {
    if (this.#table.length !== layout.words) this.#table = new Uint32Array(layout.words);
    this.#table.set(words, firstWord);
  }

  *run(pass: GpuPass): Task<PassResult | Lost> {
    if (yield* this.#answersLost()) return LOST;
    const flags = new Uint32Array(this.frames);
    const faults: GpuFault[] = [];
    for (const workgroup of pass.replay ?? workgroupsOf(pass))
      (pass.program as ModelProgram).workgroup(
        this.#access(pass, workgroup, flags, faults),
        workgroup,
      );
    return {
      missed: faults.length > 0,
      spent: false,
      faults: pass.isRecording ? faults : [],
      flags,
      missedGroups: pass.isRecording ? missedGroups(faults) : undefined,
    };
  }

  #access(pass: GpuPass, workgroup: number, flags: Uint32Array, faults: GpuFault[]): ModelAccess {
    const frameFor = (address: number, isWrite: boolean): number => {
      const entry = this.#table[Math.floor(address / PAGE_BYTES)] ?? 0;
      if ((entry & (isWrite ? GPU_WRITE : GPU_READ)) !== 0) return entry >>> GPU_FRAME_SHIFT;
      faults.push({ address, isWrite, workgroup });
      return isWrite ? SINK_FRAME : ZERO_FRAME;
    };
    const at = (frame: number, address: number): number =>
      frame * PAGE_WORDS + (address % PAGE_BYTES) / 4;
    return {
      load: (address) => {
        const frame = frameFor(address, false);
        const entry = this.#table[Math.floor(address / PAGE_BYTES)] ?? 0;
        if (pass.isUseNoted || (entry & GPU_WATCHED) !== 0)
          flags[frame] = (flags[frame] ?? 0) | USED;
        return this.#pool[at(frame, address)] ?? 0;
      },
      store: (address, value) => {
        const frame = frameFor(address, true);
        // what the shader of a pure program does (V5 of chunk.ts)
        if (pass.program.isPure === true && faults.at(-1)?.workgroup === workgroup) return;
        flags[frame] = (flags[frame] ?? 0) | USED | (pass.isTouch ? 0 : DIRTY);
        if (!pass.isTouch) this.#pool[at(frame, address)] = value;
      },
    };
  }

  backUp(frames: readonly number[], slots: readonly number[]): void {
    for (const [i, frame] of frames.entries())
      this.#backups.set(slots[i] ?? 0, this.#pageOf(frame).slice());
  }

  restore(frames: readonly number[], slots: readonly number[]): void {
    for (const [i, frame] of frames.entries())
      this.#pageOf(frame).set(this.#backups.get(slots[i] ?? 0) ?? []);
  }

  #pageOf(frame: number): Uint32Array<ArrayBuffer> {
    return this.#pool.subarray(frame * PAGE_WORDS, (frame + 1) * PAGE_WORDS);
  }

  *readFrames(frames: readonly number[]): Task<Uint8Array<ArrayBuffer> | Lost> {
    if (yield* this.#answersLost()) return LOST;
    const words = new Uint32Array(frames.length * PAGE_WORDS);
    for (const [i, frame] of frames.entries()) words.set(this.#pageOf(frame), i * PAGE_WORDS);
    return new Uint8Array(words.buffer);
  }

  /**
   * Other threads may do anything meanwhile, and the GPU may be lost. But no two tasks may wait for
   * its answer at the same time (gpu-answer.ts).
   */
  *#answersLost(): Task<boolean> {
    const { memory, answered } = this.record;
    const isFree = this.#waiting === 0 || (yield* hasAgentDied(memory, this.#waiting));
    assert(isFree, "a second task waits for an answer of the GPU");
    this.#waiting = liveAgent(memory);
    yield* answered.complete();
    yield* answered.wait();
    this.#waiting = 0;
    this.isLost ||= (yield* this.#losses.load()) > this.#number;
    return this.isLost;
  }
}

/**
 * Q6 of private-pages.ts: who waits for it holds gpuLock, or waits for room, and holds no lock.
 */
export class StrictGpu extends ModelGpu {
  override *haveRoom(): Task<void> {
    assertNoLockHeld(this.record.memory, "haveRoom", "it may wait for the end of a pass");
  }

  override run(pass: GpuPass): Task<PassResult | Lost> {
    this.record.gpuLock.assertHeld();
    return super.run(pass);
  }

  override readFrames(frames: readonly number[]): Task<Uint8Array<ArrayBuffer> | Lost> {
    this.record.gpuLock.assertHeld();
    return super.readFrames(frames);
  }
}

function workgroupsOf({ first, end }: GpuPass): number[] {
  return Array.from({ length: end - first }, (_, i) => first + i);
}

function missedGroups(faults: readonly GpuFault[]): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(new Set(faults.map(({ workgroup }) => workgroup)));
}
