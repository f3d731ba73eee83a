/**
 * @module devices/webgpu/bindings
 * What a program binds to variables of its kernels, as its owner has it: buffers and textures that
 * live on the device, bytes, samplers. The Worker's side is bound-resources.ts and bound.ts.
 */

import {
  HmmError,
  aBoolean,
  aText,
  beginStacksAtCalls,
  checkArgument,
  oneOf,
  required,
  ruleOf,
  takeOptions,
  wholeNumber,
  type OptionRules,
} from "../../driver-interface.ts";
import { refusalOf } from "../software/options.ts";
import type { Answers, BindingOrder, Order, ResourceSpec } from "./messages.ts";

/** A buffer of a WebGPU device that a program makes: of bytes, or of zeros. */
export interface WebGpuBufferOptions {
  /** Its length, where there are no `bytes`: 4 to 2^31 bytes. */
  readonly lengthBytes?: number;
  /** What it holds at first: a copy of the bytes. */
  readonly bytes?: ArrayBufferView | ArrayBufferLike;
  /** For messages and debuggers. Default "buffer". */
  readonly name?: string;
}

/** A texture of a WebGPU device that a program makes. */
export interface WebGpuTextureOptions {
  /** In texels: from 1 to what the adapter allows. */
  readonly width: number;
  /** In texels: from 1 to what the adapter allows. */
  readonly height: number;
  /** Such as `"rgba8unorm"`. */
  readonly format: string;
  /** Row by row, without gaps. */
  readonly bytes: ArrayBufferView | ArrayBufferLike;
  /** True: it may be bound as `texture_storage_2d<format, read>` as well. Default false. */
  readonly storage?: boolean;
  /** For messages and debuggers. Default "texture". */
  readonly name?: string;
}

/** A sampler, as WebGPU describes one. */
export interface WebGpuSampler {
  /** Where a texel covers more than one sample. Default "nearest". */
  readonly magFilter?: "nearest" | "linear";
  /** Where a sample covers more than one texel. Default "nearest". */
  readonly minFilter?: "nearest" | "linear";
  /** Between two levels. Default "nearest". */
  readonly mipmapFilter?: "nearest" | "linear";
  /** Beyond the texture's ends in x. Default "clamp-to-edge". */
  readonly addressModeU?: "clamp-to-edge" | "repeat" | "mirror-repeat";
  /** Beyond the texture's ends in y. Default "clamp-to-edge". */
  readonly addressModeV?: "clamp-to-edge" | "repeat" | "mirror-repeat";
  /** Beyond the texture's ends in z. Default "clamp-to-edge". */
  readonly addressModeW?: "clamp-to-edge" | "repeat" | "mirror-repeat";
  /** Of a `sampler_comparison`. */
  readonly compare?:
    | "less"
    | "less-equal"
    | "greater"
    | "greater-equal"
    | "equal"
    | "not-equal"
    | "always"
    | "never";
}

/** An object of WebGPU, as far as it must be known here. */
export interface WebGpuObject {
  /** As WebGPU's objects have it. */
  label: string;
}

/**
 * What may be bound to a variable of a kernel: bytes for `var<uniform>` and `var<storage, read>`,
 * which are copied for this dispatch; a buffer or a texture of this device; a sampler. On a device
 * that was made with `gpuDevice` also a GPUBuffer, GPUTexture, GPUTextureView or GPUSampler of it:
 * a GPUBuffer that a kernel may store to needs the usages COPY_SRC and COPY_DST.
 */
export type WebGpuBinding =
  | WebGpuObject
  | ArrayBufferView
  | ArrayBufferLike
  | WebGpuBuffer
  | WebGpuTexture
  | WebGpuSampler;

/** How handles reach their device. */
export interface ResourceDesk {
  ask<K extends Order["kind"]>(order: Order & { kind: K }): Promise<Answers[K]>;
  /** Throws EBADF when the device is disposed of. */
  check(syscall: string): void;
}

let lastId = 0;

/** Something on a device that can be bound. */
class Handle implements AsyncDisposable {
  /** For messages and debuggers. */
  readonly name: string;
  readonly #desk: ResourceDesk;
  readonly #id: number;
  #isDisposed = false;

  constructor(desk: ResourceDesk, id: number, name: string) {
    this.#desk = desk;
    this.#id = id;
    this.name = name;
  }

  /** Its number, for an order of `desk`. Throws EINVAL, EBADF. */
  idOn(desk: ResourceDesk, syscall: string): number {
    if (this.#isDisposed) {
      const text = `Cannot ${syscall}: "${this.name}" has been disposed of; make another`;
      throw new HmmError("EBADF", syscall, text);
    }
    if (desk === this.#desk) return this.#id;
    throw refusalOf(syscall)(`"${this.name}" is another device's; make one on this device`);
  }

  /** Ends it. A dispatch that was given before has it yet. Doing it again does nothing. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    try {
      this.#desk.check("dispose");
    } catch {
      return; // the device has been disposed of, and this with it
    }
    await this.#desk.ask({ kind: "unmake", resource: this.#id });
  }
}

/**
 * A buffer on a WebGPU device, for `var<uniform>` and `var<storage>` of kernels. Made by
 * `WebGpuDevice.buffer`. It is no memory of the address space: it counts beside `memoryBytes`, is
 * not paged, and what kernels have stored to it is gone with a GPU that is lost.
 */
export class WebGpuBuffer extends Handle {
  /** As it was made. */
  readonly lengthBytes: number;
  readonly #desk: ResourceDesk;

  static {
    beginStacksAtCalls(this);
  }

  /** Of `WebGpuDevice.buffer`. */
  constructor(desk: ResourceDesk, id: number, name: string, lengthBytes: number) {
    super(desk, id, name);
    this.#desk = desk;
    this.lengthBytes = lengthBytes;
  }

  /** What it holds when the dispatches before are over. Rejects with ENODEV when that is lost. */
  async read(): Promise<Uint8Array<ArrayBuffer>> {
    this.#desk.check("read");
    const resource = this.idOn(this.#desk, "read");
    return await this.#desk.ask({ kind: "fetch", resource });
  }

  /**
   * Stores a copy of `bytes` at `offsetBytes` (default 0), after the dispatches before: both are
   * multiples of 4. Rejects with HmmError EINVAL, EBADF.
   */
  async write(bytes: ArrayBufferView | ArrayBufferLike, offsetBytes: number = 0): Promise<void> {
    const refuse = refusalOf("write");
    checkArgument(refuse, "bytes", bytes, someBinary);
    const copy = copyOf(bytes);
    const most = this.lengthBytes - copy.length;
    checkArgument(refuse, "the length of bytes", copy.length, wholeNumber(0, this.lengthBytes));
    checkArgument(refuse, "offsetBytes", offsetBytes, wholeNumber(0, most, 4));
    if (copy.length % 4 !== 0 && offsetBytes + copy.length !== this.lengthBytes)
      throw refuse(`there are ${copy.length} bytes; give a multiple of 4`);
    this.#desk.check("write");
    const resource = this.idOn(this.#desk, "write");
    await this.#desk.ask({ kind: "fill", resource, at: offsetBytes, bytes: copy });
  }
}

/** A texture on a WebGPU device, made by `WebGpuDevice.texture`. Kernels only read it. */
export class WebGpuTexture extends Handle {}

const someBinary = ruleOf("bytes: a typed array, a DataView or a buffer", isBinary);

function isBinary(value: unknown): value is ArrayBufferView | ArrayBufferLike {
  if (ArrayBuffer.isView(value)) return isAttached(value.buffer);
  return value instanceof SharedArrayBuffer || (value instanceof ArrayBuffer && isAttached(value));
}

/** The bytes have not been transferred: an array cannot be made of a buffer without any. */
function isAttached(buffer: ArrayBufferLike): boolean {
  try {
    return new Uint8Array(buffer).length === buffer.byteLength;
  } catch {
    return false;
  }
}

function copyOf(bytes: ArrayBufferView | ArrayBufferLike): Uint8Array<ArrayBuffer> {
  if (!ArrayBuffer.isView(bytes)) return Uint8Array.from(new Uint8Array(bytes));
  return Uint8Array.from(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

const BUFFER_BYTES_MAX: number = 2 ** 31;
const SIDE_MAX = 2 ** 15;

const BUFFER_RULES: OptionRules<WebGpuBufferOptions> = {
  lengthBytes: wholeNumber(4, BUFFER_BYTES_MAX),
  bytes: someBinary,
  name: aText,
};

const TEXTURE_RULES: OptionRules<WebGpuTextureOptions> = {
  width: required(wholeNumber(1, SIDE_MAX)),
  height: required(wholeNumber(1, SIDE_MAX)),
  format: required(aText),
  bytes: required(someBinary),
  storage: aBoolean,
  name: aText,
};

const aFilter = oneOf("nearest", "linear");
const anAddressMode = oneOf("clamp-to-edge", "repeat", "mirror-repeat");

const SAMPLER_RULES: OptionRules<WebGpuSampler> = {
  magFilter: aFilter,
  minFilter: aFilter,
  mipmapFilter: aFilter,
  addressModeU: anAddressMode,
  addressModeV: anAddressMode,
  addressModeW: anAddressMode,
  compare: oneOf(
    "less",
    "less-equal",
    "greater",
    "greater-equal",
    "equal",
    "not-equal",
    "always",
    "never",
  ),
};

/** Rejects with HmmError EINVAL, ENOMEM. */
export async function makeBuffer(
  desk: ResourceDesk,
  given: WebGpuBufferOptions,
): Promise<WebGpuBuffer> {
  const refuse = refusalOf("make the buffer");
  const options = takeOptions<WebGpuBufferOptions>(refuse, given, BUFFER_RULES);
  const bytes = options.bytes === undefined ? undefined : copyOf(options.bytes);
  const { name = "buffer", lengthBytes = bytes?.length } = options;
  if (bytes !== undefined && lengthBytes !== bytes.length)
    throw refuse(`lengthBytes is ${lengthBytes}, and bytes has ${bytes.length}; give one of them`);
  if (lengthBytes === undefined) throw refuse("it has no length; give lengthBytes, or bytes");
  checkArgument(refuse, "its length", lengthBytes, wholeNumber(4, BUFFER_BYTES_MAX));
  const id = await make(desk, { kind: "buffer", name, lengthBytes, bytes });
  return new WebGpuBuffer(desk, id, name, lengthBytes);
}

const PLAIN_FORMAT = /^(r|rg|rgba|bgra)(8|16|32)(?:unorm|snorm|uint|sint|float)(?:-srgb)?$/u;

/** Formats whose name does not say it. */
const TEXEL_BYTES: ReadonlyMap<string, number> = new Map([
  ["rgb9e5ufloat", 4],
  ["rgb10a2unorm", 4],
  ["rgb10a2uint", 4],
  ["rg11b10ufloat", 4],
  ["depth16unorm", 2],
  ["stencil8", 1],
]);

/** Undefined: WebGPU may know the format. */
function texelBytesOf(format: string): number | undefined {
  const [, components = "", bits = ""] = PLAIN_FORMAT.exec(format) ?? [];
  if (components !== "") return (components.length * Number(bits)) / 8;
  return TEXEL_BYTES.get(format);
}

/** Rejects with HmmError EINVAL, ENOMEM. */
export async function makeTexture(
  desk: ResourceDesk,
  given: WebGpuTextureOptions,
): Promise<WebGpuTexture> {
  const refuse = refusalOf("make the texture");
  const options = takeOptions<WebGpuTextureOptions>(refuse, given, TEXTURE_RULES);
  const { width, height, format, storage: isStorage = false, name = "texture" } = options;
  const bytes = copyOf(options.bytes);
  const texelBytes = texelBytesOf(format);
  const wantedBytes = width * height * (texelBytes ?? 0);
  if (texelBytes !== undefined && bytes.length !== wantedBytes) {
    const rows = `${height} rows of ${width} texels of ${texelBytes} bytes, without gaps`;
    throw refuse(`there are ${bytes.length} bytes; give ${wantedBytes}: ${rows}`);
  }
  if (bytes.length === 0 || bytes.length % height !== 0)
    throw refuse(`there are ${bytes.length} bytes; give ${height} rows of one length`);
  const id = await make(desk, { kind: "texture", name, width, height, format, isStorage, bytes });
  return new WebGpuTexture(desk, id, name);
}

async function make(desk: ResourceDesk, spec: ResourceSpec): Promise<number> {
  desk.check(`make the ${spec.kind}`);
  const id = ++lastId;
  await desk.ask({ kind: "make", resource: id, spec });
  return id;
}

/** What the Worker is told of them. Throws EINVAL, EBADF. */
export function bindingOrders(
  desk: ResourceDesk,
  bindings: Readonly<Record<string, WebGpuBinding>>,
  isOwn: boolean,
): Record<string, BindingOrder> {
  const refuse = refusalOf("dispatch");
  const orders: Record<string, BindingOrder> = {};
  for (const [name, value] of Object.entries<unknown>(bindings)) {
    if (value instanceof Handle) {
      orders[name] = { kind: "resource", id: value.idOn(desk, "dispatch") };
    } else if (isBinary(value)) {
      const bytes = copyOf(value);
      checkArgument(refuse, `the length of bindings.${name}`, bytes.length, wholeNumber(1));
      orders[name] = { kind: "bytes", bytes };
    } else if (isOwn && isGpuObject(value)) {
      orders[name] = { kind: "own", resource: value };
    } else {
      const own = isOwn ? ", or an object of your GPUDevice" : "";
      const wanted = `bytes, a buffer or texture of this device, a sampler${own}`;
      checkArgument(refuse, `bindings.${name}`, value, ruleOf(wanted, isPlain));
      const sampler = takeOptions(refuse, value, SAMPLER_RULES, `bindings.${name}`);
      orders[name] = { kind: "sampler", sampler };
    }
  }
  return orders;
}

/** Whether it could be a GPUBuffer, GPUTexture, GPUTextureView or GPUSampler. */
function isGpuObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && "label" in value && !isLiteral(value);
}

function isLiteral(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function isPlain(value: unknown): boolean {
  return typeof value === "object" && value !== null && isLiteral(value);
}
