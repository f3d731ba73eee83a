/**
 * @module devices/webgpu/staging
 * Memory of the host through which pages go to the GPU: buffers that stay mapped, so that a page is
 * copied once, from RAM into what the GPU copies from. `writeBuffer` takes a second copy, and for
 * Dawn in Node a third, for it takes no shared memory. Of the device's Worker.
 *
 *     mapped ---> taken ---> unmapped ---> submitted ---> mapped again, when the GPU is through
 *
 * One piece of it is taken at a time. What is taken and not used is taken again.
 */

/** Bytes of a buffer, and how many there are at most: they are made as they are needed. */
export const STAGE_BYTES: number = 2 ** 22;
const STAGES_MAX = 2;

const MAP_WRITE = 0x2;
const COPY_SRC = 0x4;
const MODE_WRITE = 0x2;

interface Stage {
  readonly buffer: GPUBuffer;
  /** All of it; gone while it is not mapped. */
  bytes: Uint8Array<ArrayBuffer>;
  /** Bytes that copies have been encoded from. */
  used: number;
}

/** A stage that the GPU has, until it is mapped again, or lost. */
interface Away {
  readonly stage: Stage;
  readonly back: Promise<void>;
}

export class Staging {
  readonly #device: GPUDevice;
  readonly #all: GPUBuffer[] = [];
  readonly #free: Stage[] = [];
  /** The one that was submitted first is first. */
  readonly #away: Away[] = [];
  #current: Stage | undefined;
  #taken: Uint8Array<ArrayBuffer> | undefined;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Whether there is room for so many bytes, at most STAGE_BYTES. */
  hasRoom(lengthBytes: number): boolean {
    this.#current ??= this.#free.pop() ?? this.#make();
    return this.#current !== undefined && this.#current.used + lengthBytes <= STAGE_BYTES;
  }

  /** Room for so many bytes, until the event loop turns; undefined: there is none. */
  take(lengthBytes: number): Uint8Array<ArrayBuffer> | undefined {
    if (!this.hasRoom(lengthBytes) || this.#current === undefined) return undefined;
    const { bytes, used } = this.#current;
    if (bytes.length !== STAGE_BYTES) return undefined; // whoever destroys a device unmaps it
    return (this.#taken = bytes.subarray(used, used + lengthBytes));
  }

  #make(): Stage | undefined {
    if (this.#all.length === STAGES_MAX) return undefined;
    const buffer = this.#device.createBuffer({
      label: "hmm staging",
      size: STAGE_BYTES,
      usage: MAP_WRITE | COPY_SRC,
      mappedAtCreation: true,
    });
    this.#all.push(buffer);
    return { buffer, bytes: new Uint8Array(buffer.getMappedRange()), used: 0 };
  }

  /**
   * The first `lengthBytes` of what was taken are to be copied: from where. Undefined: these bytes
   * are not what was taken last.
   */
  use(
    bytes: Uint8Array<ArrayBuffer>,
    lengthBytes: number,
  ): { readonly buffer: GPUBuffer; readonly offsetBytes: number } | undefined {
    const stage = this.#current;
    if (stage === undefined || bytes !== this.#taken) return undefined;
    const offsetBytes = stage.used;
    stage.used += lengthBytes;
    this.#taken = undefined;
    return { buffer: stage.buffer, offsetBytes };
  }

  /** Whether so many bytes more would need another buffer. */
  isFullFor(lengthBytes: number): boolean {
    return this.#current !== undefined && this.#current.used + lengthBytes > STAGE_BYTES;
  }

  /** Before copies from it are submitted. */
  unmap(): void {
    if (this.#current !== undefined && this.#current.used > 0) this.#current.buffer.unmap();
  }

  /** Pairs with `unmap`, when they have been. */
  mapAgain(): void {
    const stage = this.#current;
    if (stage === undefined || stage.used === 0) return;
    this.#current = undefined;
    this.#taken = undefined;
    const back = this.#whenBack(stage);
    back.catch(() => {}); // whoever waits for it is told
    this.#away.push({ stage, back });
  }

  async #whenBack(stage: Stage): Promise<void> {
    await stage.buffer.mapAsync(MODE_WRITE);
    stage.bytes = new Uint8Array(stage.buffer.getMappedRange());
    stage.used = 0;
    this.#away.splice(
      this.#away.findIndex((one) => one.stage === stage),
      1,
    );
    this.#free.push(stage);
  }

  /** When the first of those that are away is back; it rejects when the device is lost. */
  get nextBack(): Promise<void> | undefined {
    return this.#away[0]?.back;
  }

  /** When none is away any more, or the device is lost. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#away.map(({ back }) => back));
  }

  destroy(): void {
    for (const buffer of this.#all) buffer.destroy();
  }
}
