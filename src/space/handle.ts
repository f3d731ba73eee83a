/**
 * @module space/handle
 * What one thread sends another so that it can attach to an address space, or, as a thread of a
 * driver, to the machine alone: structured-cloneable,
 * for `workerData` or a message. It keeps the machine's buffers reachable, but not the address
 * space alive. It may be old, damaged or of another machine; `attach` checks it.
 */

import type { MachineHandle } from "../memory/machine.ts";
import { EINVAL } from "../sync/errno.ts";
import { formatValue } from "../sync/argument-rules.ts";
import { customFailure } from "./failures.ts";

/**
 * Names an address space to other threads of the program: see `AddressSpace.handle`.
 *
 * @example
 * ```ts
 * import { Worker, isMainThread, workerData } from "node:worker_threads";
 * import { AddressSpace, type AddressSpaceHandle } from "hmm-ts";
 *
 * if (isMainThread) {
 *   using space = AddressSpace.createSync();
 *   const p = space.mmapSync(4096);
 *   const workerData = { handle: space.handle, p };
 *   const worker = new Worker(new URL(import.meta.url), { workerData });
 *   await new Promise((resolve) => worker.once("exit", resolve));
 *   console.log(space.u32.load(p)); // 7
 * } else {
 *   const { handle, p } = workerData as { handle: AddressSpaceHandle; p: number };
 *   using space = AddressSpace.attachSync(handle);
 *   space.u32.store(p, 7);
 * }
 * ```
 */
export interface AddressSpaceHandle {
  readonly kind: "hmm-ts/address-space";
  readonly version: 1;
  readonly machineId: string;
  readonly machine: MachineHandle;
  /** Number of the space on its machine; never used twice. */
  readonly space: number;
}

/**
 * Names a machine to another thread of a driver: see `DriverThread.handle`. It goes into
 * `workerData` or a message, for `DriverThread.attach` over there.
 */
export interface DriverHandle {
  readonly kind: "hmm-ts/driver";
  readonly version: 1;
  readonly machineId: string;
  readonly machine: MachineHandle;
}

const KIND = "hmm-ts/address-space";
const DRIVER_KIND = "hmm-ts/driver";
const VERSION = 1;

/** The handle of a space. */
export function makeHandle(
  machine: MachineHandle,
  machineId: string,
  space: number,
): AddressSpaceHandle {
  return { kind: KIND, version: VERSION, machineId, machine, space };
}

function isMachineHandle(value: unknown): value is MachineHandle {
  if (typeof value !== "object" || value === null) return false;
  const { heap, sections } = value as Partial<MachineHandle>;
  return heap instanceof SharedArrayBuffer && Array.isArray(sections);
}

/** The handle of a machine, for a driver's threads. */
export function makeDriverHandle(machine: MachineHandle, machineId: string): DriverHandle {
  return { kind: DRIVER_KIND, version: VERSION, machineId, machine };
}

type Fields = Partial<Record<keyof AddressSpaceHandle, unknown>>;

/**
 * Throws HmmError EINVAL for anything but a handle of this version. Its space may be gone.
 */
export function parseHandle(value: unknown): AddressSpaceHandle {
  const fields = checkedFields(value, KIND, "an address space; pass on space.handle");
  const { machineId, machine, space } = fields;
  if (typeof machineId !== "string" || !isMachineHandle(machine) || !Number.isSafeInteger(space))
    throw damaged("space.handle");
  return { kind: KIND, version: VERSION, machineId, machine, space: space as number };
}

/** Throws HmmError EINVAL for anything but a driver's handle of this version. */
export function parseDriverHandle(value: unknown): DriverHandle {
  const fields = checkedFields(value, DRIVER_KIND, "a driver's thread; pass on driver.handle");
  const { machineId, machine } = fields;
  if (typeof machineId !== "string" || !isMachineHandle(machine)) throw damaged("driver.handle");
  return { kind: DRIVER_KIND, version: VERSION, machineId, machine };
}

/** The fields of a handle of that kind and of this version. */
function checkedFields(value: unknown, kind: string, what: string): Fields {
  const fields = (typeof value === "object" && value !== null ? value : {}) as Fields;
  if (fields.kind !== kind) {
    throw customFailure("attach", EINVAL, `this is not the handle of ${what} as it was given`);
  }
  if (fields.version !== VERSION) {
    throw customFailure(
      "attach",
      EINVAL,
      `its handle is of version ${formatValue(fields.version)}, not ${VERSION}; use one version of hmm-ts in all threads`,
    );
  }
  return fields;
}

function damaged(handle: string): Error {
  return customFailure(
    "attach",
    EINVAL,
    `its handle is damaged; pass on ${handle} as it was given`,
  );
}
