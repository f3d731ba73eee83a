/**
 * @module devices/webgpu/bound-resources
 * Buffers and textures that a program has made on the device, to be bound to variables of its
 * kernels. Of the device's Worker. What no kernel has stored to is kept on the host as well, and
 * goes to the GPU that replaces a lost one; what a kernel has stored to is gone with its GPU.
 */

import { HmmError } from "../../driver-interface.ts";
import { plainMessage, popScopes } from "./error-scopes.ts";
import type { ResourceSpec } from "./messages.ts";

// WebGPU's flags, which Node has no globals for.
const MAP_READ = 0x1;
const COPY_SRC = 0x4;
const COPY_DST = 0x8;
const UNIFORM = 0x40;
const STORAGE = 0x80;
const TEXTURE_COPY_DST = 0x2;
const TEXTURE_BINDING = 0x4;
const MODE_READ = 0x1;

/** Made objects of one GPU. */
type Made =
  | { readonly device: GPUDevice; readonly buffer: GPUBuffer }
  | { readonly device: GPUDevice; readonly texture: GPUTexture };

export class Resource {
  readonly spec: ResourceSpec;
  /** Its content, until a kernel stores to it. */
  #bytes: Uint8Array<ArrayBuffer> | undefined;
  #made: Made | undefined;

  constructor(spec: ResourceSpec) {
    this.spec = spec;
    const { bytes } = spec;
    this.#bytes = bytes ?? new Uint8Array(spec.kind === "buffer" ? spec.lengthBytes : 0);
  }

  /**
   * The object on `device`: made when first asked for. Rejects with HmmError ENODEV when its
   * content is gone, ENOMEM when the GPU has no room, EINVAL when it refuses the description.
   */
  async on(device: GPUDevice): Promise<Made> {
    if (this.#made?.device === device) return this.#made;
    const bytes = this.#bytes;
    if (bytes === undefined) {
      const why = "a kernel has stored to it, and the GPU that had its content was lost";
      const text = `Cannot use the ${this.spec.kind}: ${why}; write it whole, or make it again`;
      throw new HmmError("ENODEV", "resource", text);
    }
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
    let made: Made | Error;
    try {
      made = this.#make(device, bytes);
    } catch (error) {
      made = error instanceof Error ? error : new Error(String(error)); // no such format
    }
    const [invalid, none] = await popScopes(device);
    const failure = none ?? invalid ?? (made instanceof Error ? made : null);
    if (failure !== null || made instanceof Error) {
      const why = plainMessage(failure?.message ?? "");
      const text = `Cannot make the ${this.spec.kind}: ${why}`;
      throw new HmmError(none === null ? "EINVAL" : "ENOMEM", "resource", text);
    }
    this.#made = made;
    return made;
  }

  #make(device: GPUDevice, bytes: Uint8Array<ArrayBuffer>): Made {
    const { spec } = this;
    const label = spec.name;
    if (spec.kind === "buffer") {
      const usage = UNIFORM | STORAGE | COPY_SRC | COPY_DST;
      const buffer = device.createBuffer({ label, size: paddedBytes(spec.lengthBytes), usage });
      device.queue.writeBuffer(buffer, 0, padded(bytes));
      return { device, buffer };
    }
    const { width, height, format } = spec;
    const usage = TEXTURE_BINDING | TEXTURE_COPY_DST | (spec.isStorage ? 0x8 : 0);
    const texture = device.createTexture({
      label,
      size: [width, height],
      format: format as GPUTextureFormat, // WebGPU refuses what is none
      usage,
    });
    const layout = { bytesPerRow: bytes.length / height, rowsPerImage: height };
    device.queue.writeTexture({ texture }, bytes, layout, [width, height]);
    return { device, texture };
  }

  /** A kernel's stores to it stand: the host's copy is old. */
  noteStored(): void {
    this.#bytes = undefined;
  }

  /** Stores `bytes` at `at` of a buffer. */
  async write(device: GPUDevice, at: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const isWhole = at === 0 && this.spec.kind === "buffer" && bytes.length === this.lengthBytes;
    // A buffer that is written whole has no content that could be missed.
    if (isWhole) this.#bytes = Uint8Array.from(bytes);
    else this.#bytes?.set(bytes, at);
    const made = await this.on(device);
    if (!("buffer" in made)) return;
    device.queue.writeBuffer(made.buffer, at, padded(bytes));
  }

  async read(device: GPUDevice): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#bytes !== undefined) return Uint8Array.from(this.#bytes);
    const made = await this.on(device);
    if (!("buffer" in made)) return new Uint8Array();
    const size = paddedBytes(this.lengthBytes);
    const copy = device.createBuffer({ size, usage: MAP_READ | COPY_DST });
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(made.buffer, 0, copy, 0, size);
    device.queue.submit([encoder.finish()]);
    try {
      await copy.mapAsync(MODE_READ);
    } catch {
      const text = "Cannot read the buffer: the GPU that has its content was lost; make it again";
      throw new HmmError("ENODEV", "resource", text);
    }
    const bytes = new Uint8Array(this.lengthBytes);
    bytes.set(new Uint8Array(copy.getMappedRange()).subarray(0, bytes.length));
    copy.destroy();
    return bytes;
  }

  get lengthBytes(): number {
    return this.spec.kind === "buffer" ? this.spec.lengthBytes : 0;
  }

  destroy(): void {
    if (this.#made === undefined) return;
    if ("buffer" in this.#made) this.#made.buffer.destroy();
    else this.#made.texture.destroy();
  }
}

/** A uniform's structure ends at a multiple of 16, whatever its last member is. */
export function paddedBytes(lengthBytes: number): number {
  return Math.ceil(lengthBytes / 16) * 16;
}

function padded(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (bytes.length % 4 === 0) return bytes;
  const longer = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  longer.set(bytes);
  return longer;
}
