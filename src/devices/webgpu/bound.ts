/**
 * @module devices/webgpu/bound
 * What a dispatch has bound to its kernel's own variables, on one GPU: bind groups, and the backups
 * of buffers that the kernel may store to. Of the device's Worker.
 *
 * A pass stores to such a buffer at once, also a touch pass, and one that has missed. So a chunk's
 * first pass copies each aside, and every pass that runs it again begins with the copy:
 *
 *     keep() ---> kept --- a pass: copies aside ---> open --- a pass: copies back --+
 *                  ^                                  | ^                           |
 *                  +------- the chunk is committed ---+ +---------------------------+
 *
 * The host keeps none of this: what a lost GPU had in a buffer that a committed chunk has stored to
 * is gone (bound-resources.ts).
 */

import { HmmError } from "../../driver-interface.ts";
import type { GpuBound } from "./gpu.ts";
import type { BindingOrder } from "./messages.ts";
import { Resource, paddedBytes } from "./bound-resources.ts";
import { type RangeOrder, firstPageOf, offsetInRow } from "./ranges.ts";
import { plainMessage, popScopes } from "./error-scopes.ts";
import type { Row } from "./rows.ts";
import type { BoundVariable } from "./wgsl/bindings.ts";

const COPY_SRC = 0x4;
const COPY_DST = 0x8;

interface Backup {
  readonly original: GPUBuffer;
  readonly copy: GPUBuffer;
  readonly size: number;
}

/** What there is to bind, and what to do when it has been. */
export interface BindRequest {
  readonly device: GPUDevice;
  readonly variables: readonly BoundVariable[];
  /** By group. */
  readonly layouts: readonly GPUBindGroupLayout[];
  readonly orders: Readonly<Record<string, BindingOrder>>;
  readonly resourceOf: (id: number) => Resource;
  /** The row that begins at a page, and its buffer: both are there. */
  readonly rowAt: (startPage: number) => { readonly row: Row; readonly buffer: GPUBuffer };
}

export class Bound implements GpuBound {
  readonly groups: readonly GPUBindGroup[];
  /** Rows that the kernel may store to: the pages go home when a chunk is committed. */
  readonly writtenRows: readonly Row[];
  readonly #device: GPUDevice;
  readonly #backups: readonly Backup[];
  /** Made for this dispatch alone. */
  readonly #owned: readonly Resource[];
  readonly #stored: readonly Resource[];
  #isOpen = false;

  private constructor(parts: BoundParts) {
    this.#device = parts.device;
    this.groups = parts.groups;
    this.writtenRows = parts.writtenRows;
    this.#owned = parts.owned;
    this.#stored = parts.stored;
    this.#backups = parts.backups;
  }

  /** Rejects with HmmError: EINVAL, ENOMEM, ENODEV. Nothing is left behind then. */
  static async create(request: BindRequest): Promise<Bound> {
    const { device, variables, orders } = request;
    for (const name of Object.keys(orders))
      if (!variables.some((one) => one.name === name))
        throw refusal(`the kernel has no variable "${name}" with a @binding`);
    const owned: Resource[] = [];
    try {
      return await bindAll(request, owned, (parts) => new Bound({ device, owned, ...parts }));
    } catch (error) {
      for (const resource of owned) resource.destroy();
      throw error;
    }
  }

  /** Before a pass: what is stored to is as it was when the chunk began. */
  begin(encoder: GPUCommandEncoder): void {
    for (const { original, copy, size } of this.#backups) {
      const [from, to] = this.#isOpen ? [copy, original] : [original, copy];
      encoder.copyBufferToBuffer(from, 0, to, 0, size);
    }
    this.#isOpen = true;
  }

  /** A chunk is committed: what it has stored stands. */
  keep(): void {
    this.#isOpen = false;
    for (const resource of this.#stored) resource.noteStored();
  }

  /** The dispatch is over: what no commit has kept is undone. */
  end(): void {
    if (this.#isOpen && this.#backups.length > 0) {
      const encoder = this.#device.createCommandEncoder();
      this.begin(encoder);
      this.#device.queue.submit([encoder.finish()]);
    }
    for (const { copy } of this.#backups) copy.destroy();
    for (const resource of this.#owned) resource.destroy();
  }
}

interface BoundParts {
  readonly device: GPUDevice;
  readonly groups: readonly GPUBindGroup[];
  readonly owned: readonly Resource[];
  readonly stored: readonly Resource[];
  readonly backups: readonly Backup[];
  readonly writtenRows: readonly Row[];
}

async function bindAll(
  { device, variables, layouts, orders, resourceOf, rowAt }: BindRequest,
  owned: Resource[],
  finish: (parts: Omit<BoundParts, "device" | "owned">) => Bound,
): Promise<Bound> {
  const entries: GPUBindGroupEntry[][] = layouts.map(() => []);
  const stored: Resource[] = [];
  const written: GPUBuffer[] = [];
  const writtenRows: Row[] = [];
  for (const variable of variables) {
    const order = orders[variable.name];
    if (order === undefined) throw refusal(`nothing is bound to ${placed(variable)}`);
    if (order.kind === "range") {
      refuseShort(variable, order.lengthBytes);
      const { row, buffer } = rowAt(firstPageOf(order));
      const place = { buffer, offset: offsetInRow(order), size: order.lengthBytes };
      entries[variable.group]?.push({ binding: variable.binding, resource: place });
      if (row.isWrite) writtenRows.push(row);
      continue;
    }
    const resource = order.kind === "resource" ? resourceOf(order.id) : ownOf(order, owned);
    const bound = await bindingOf(device, variable, order, resource);
    entries[variable.group]?.push({ binding: variable.binding, resource: bound });
    if (variable.kind !== "write" || !("buffer" in bound)) continue;
    written.push(bound.buffer);
    if (resource !== undefined) stored.push(resource);
  }
  device.pushErrorScope("out-of-memory");
  device.pushErrorScope("validation");
  const groups = layouts.map((layout, group) =>
    device.createBindGroup({ layout, entries: entries[group] ?? [] }),
  );
  const backups = [...new Set(written)].map((buffer) => backupOf(device, buffer));
  const [invalid, none] = await popScopes(device);
  if (invalid !== null) throw refusal(namedMessage(variables, invalid.message));
  if (none !== null) {
    const text = `Cannot back up what is bound: ${plainMessage(none.message)}`;
    throw new HmmError("ENOMEM", "dispatch", text);
  }
  return finish({ groups, stored, backups, writtenRows });
}

/** A resource for this dispatch alone. */
function ownOf(order: BindingOrder, owned: Resource[]): Resource | undefined {
  if (order.kind !== "bytes") return undefined;
  const { bytes } = order;
  const lengthBytes = Math.max(bytes.length, 4);
  const resource = new Resource({ kind: "buffer", name: "hmm bytes", lengthBytes, bytes });
  owned.push(resource);
  return resource;
}

async function bindingOf(
  device: GPUDevice,
  variable: BoundVariable,
  order: Exclude<BindingOrder, RangeOrder>,
  resource: Resource | undefined,
): Promise<GPUBindingResource> {
  const { kind } = variable;
  if (order.kind === "own") return ownBinding(variable, order.resource);
  if (order.kind === "sampler") {
    if (kind !== "sampler") throw mismatch(variable, "a sampler");
    try {
      return device.createSampler(order.sampler);
    } catch (error) {
      throw refusal(String(error));
    }
  }
  if (order.kind === "bytes" && kind === "write")
    throw mismatch(variable, "bytes, which could not be read afterwards: make a buffer of them");
  const made = await resource?.on(device);
  if (made !== undefined && "texture" in made) {
    if (kind !== "texture") throw mismatch(variable, "a texture");
    return made.texture.createView();
  }
  const isOfBuffer = kind === "uniform" || kind === "read" || kind === "write";
  if (made === undefined || !isOfBuffer || resource === undefined)
    throw mismatch(variable, "a buffer");
  const { lengthBytes } = resource;
  refuseShort(variable, lengthBytes);
  const size = kind === "uniform" ? paddedBytes(lengthBytes) : Math.ceil(lengthBytes / 4) * 4;
  return { buffer: made.buffer, size };
}

/** An object of the program's own GPUDevice. What it is not, WebGPU refuses. */
function ownBinding(variable: BoundVariable, resource: object): GPUBindingResource {
  if (variable.kind === "texture" || variable.kind === "sampler") {
    const texture = resource as GPUTexture;
    return "createView" in texture ? texture.createView() : (resource as GPUSampler);
  }
  const buffer = resource as GPUBuffer;
  const isBackedUp = (buffer.usage & (COPY_SRC | COPY_DST)) === (COPY_SRC | COPY_DST);
  if (variable.kind === "write" && !isBackedUp)
    throw mismatch(variable, "a buffer without the usages COPY_SRC and COPY_DST: it is backed up");
  return { buffer };
}

function backupOf(device: GPUDevice, original: GPUBuffer): Backup {
  const size = original.size - (original.size % 4);
  const copy = device.createBuffer({ label: "hmm backup", size, usage: COPY_SRC | COPY_DST });
  return { original, copy, size };
}

/** Throws EINVAL where values of the variable would lie beyond what is bound, and read as zeros. */
function refuseShort(variable: BoundVariable, lengthBytes: number): void {
  const { usedBytes } = variable;
  if (lengthBytes >= usedBytes) return;
  throw refusal(`${placed(variable)} has ${usedBytes} bytes, and ${lengthBytes} are bound to it`);
}

/** With the variable that the message is about, where it tells a binding that is one's alone. */
function namedMessage(variables: readonly BoundVariable[], message: string): string {
  const binding = /\bbinding: (\d+)/u.exec(message)?.[1];
  const [variable, ...others] = variables.filter((one) => String(one.binding) === binding);
  const text = plainMessage(message);
  return variable === undefined || others.length > 0 ? text : `${placed(variable)}: ${text}`;
}

function placed({ name, line, column }: BoundVariable): string {
  return `"${name}" (${line}:${column})`;
}

function mismatch(variable: BoundVariable, given: string): HmmError {
  return refusal(`${placed(variable)} cannot be ${given}`);
}

function refusal(why: string): HmmError {
  return new HmmError("EINVAL", "dispatch", `Cannot bind what the kernel needs: ${why}`);
}
