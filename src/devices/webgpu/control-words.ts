/**
 * @module devices/webgpu/control-words
 * What a pass tells the host: the control block of wgsl/layout.ts on the GPU, and its copy that the
 * host reads. A fast pass has no list of faults, so only the head and the flags are copied.
 */

import { PAGE_BYTES } from "../../driver-interface.ts";
import { type GpuFault, type PassResult } from "./gpu.ts";
import {
  FAULTS,
  FAULTS_MAX,
  FAULT_LIST,
  FAULT_WORDS,
  FLAGS,
  GROUPS,
  GROUPS_MAX,
  GROUP_LIST,
  MISSED,
  SPENT,
  controlWords,
  replayAt,
} from "./wgsl/layout.ts";

/** Words of the control block's head. */
const HEAD_WORDS = FAULT_LIST;

// WebGPU's flags, which Node has no globals for.
const MAP_READ = 0x1;
const COPY_SRC = 0x4;
const COPY_DST = 0x8;
const STORAGE = 0x80;
const MODE_READ = 0x1;

export class ControlWords {
  readonly buffer: GPUBuffer;
  readonly #device: GPUDevice;
  readonly #read: GPUBuffer;
  readonly #frames: number;
  /** Of the last pass, by frame; those of rows follow. */
  readonly flags: Uint32Array;

  constructor(device: GPUDevice, frames: number, rowFrames: number) {
    this.#device = device;
    this.#frames = frames;
    this.buffer = device.createBuffer({
      label: "hmm control",
      size: controlWords(frames) * 4,
      usage: STORAGE | COPY_SRC | COPY_DST,
    });
    this.#read = device.createBuffer({
      label: "hmm control read",
      size: (FLAGS + frames) * 4,
      usage: MAP_READ | COPY_DST,
    });
    this.flags = new Uint32Array(frames + rowFrames);
  }

  /** Before a pass; of `replay` workgroups alone, if it is given. */
  begin(encoder: GPUCommandEncoder, replay: Uint32Array<ArrayBuffer> | undefined): void {
    const replayBytesAt = replayAt(this.#frames) * 4;
    encoder.clearBuffer(this.buffer, 0, replayBytesAt);
    if (replay !== undefined) this.#device.queue.writeBuffer(this.buffer, replayBytesAt, replay);
  }

  /** Head and flags, and in between the faults of a recording pass. Behind the pass. */
  copy(encoder: GPUCommandEncoder, isRecording: boolean): void {
    const flagBytes = this.#frames * 4;
    if (isRecording) {
      encoder.copyBufferToBuffer(this.buffer, 0, this.#read, 0, FLAGS * 4 + flagBytes);
      return;
    }
    encoder.copyBufferToBuffer(this.buffer, 0, this.#read, 0, HEAD_WORDS * 4);
    encoder.copyBufferToBuffer(this.buffer, FLAGS * 4, this.#read, HEAD_WORDS * 4, flagBytes);
  }

  /** When what was copied can be read. */
  map(isRecording: boolean): Promise<void> {
    return this.#read.mapAsync(MODE_READ, 0, this.#bytes(isRecording));
  }

  #bytes(isRecording: boolean): number {
    return ((isRecording ? FLAGS : HEAD_WORDS) + this.#frames) * 4;
  }

  /** Of what is mapped, which it is no more then. */
  result(isRecording: boolean): PassResult {
    const words = new Uint32Array(this.#read.getMappedRange(0, this.#bytes(isRecording)));
    const flagsAt = isRecording ? FLAGS : HEAD_WORDS;
    this.flags.set(words.subarray(flagsAt, flagsAt + this.#frames));
    this.flags.fill(0, this.#frames);
    const count = isRecording ? Math.min(words[FAULTS] ?? 0, FAULTS_MAX) : 0;
    const groups = isRecording ? (words[GROUPS] ?? 0) : 0;
    const isListed = groups > 0 && groups <= GROUPS_MAX;
    const result = {
      missed: words[MISSED] !== 0,
      spent: words[SPENT] !== 0,
      faults: Array.from({ length: count }, (_, i) => faultAt(words, FAULT_LIST + i * FAULT_WORDS)),
      flags: this.flags,
      missedGroups: isListed ? words.slice(GROUP_LIST, GROUP_LIST + groups) : undefined,
    };
    this.#read.unmap();
    return result;
  }

  destroy(): void {
    this.buffer.destroy();
    this.#read.destroy();
  }
}

function faultAt(words: Uint32Array, at: number): GpuFault {
  const [low = 0, high = 0, access, workgroup = 0] = words.subarray(at, at + FAULT_WORDS);
  const isWrite = access !== 0;
  const address = low + high * 2 ** 32;
  const exactAddress = (BigInt(high) << 32n) + BigInt(low);
  if (BigInt(address) === exactAddress) return { address, isWrite, workgroup };
  const pageAddress = low - (low % PAGE_BYTES) + high * 2 ** 32;
  return { address: pageAddress, exactAddress, isWrite, workgroup };
}
