/**
 * @module space/handle
 * What one thread sends another so that it can attach to an address space, or, as a thread of a
 * driver, to the machine alone: structured-cloneable,
 * for `workerData` or a message. It keeps the machine's buffers reachable, but not the address
 * space alive. It may be old, damaged or of another machine; `attach` checks it.
 */

import { type MachineHandle, readMachineHandle } from "../memory/machine.ts";
import { formatValue } from "../sync/argument-rules.ts";
import { HmmError } from "../sync/errors.ts";
import { refusalBy } from "./failures.ts";

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
  /** Says what the object is. */
  readonly kind: "hmm-ts/address-space";
  /** The version of this format. */
  readonly version: 1;
  /** Tells this machine from all others. */
  readonly machineId: string;
  /** The shared memory of the machine. */
  readonly machine: MachineHandle;
  /** Number of the space on its machine; never used twice. */
  readonly space: number;
}

/**
 * Names a machine to another thread of a driver: see `DriverThread.handle`. It goes into
 * `workerData` or a message, for `DriverThread.attach` over there.
 */
export interface DriverHandle {
  /** Says what the object is. */
  readonly kind: "hmm-ts/driver";
  /** The version of this format. */
  readonly version: 1;
  /** Tells this machine from all others. */
  readonly machineId: string;
  /** The shared memory of the machine. */
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

/** The handle of a machine, for a driver's threads. */
export function makeDriverHandle(machine: MachineHandle, machineId: string): DriverHandle {
  return { kind: DRIVER_KIND, version: VERSION, machineId, machine };
}

/** What both kinds of handles have. */
interface CommonFields {
  readonly machineId: string;
  readonly machine: MachineHandle;
  readonly space: unknown;
}

/**
 * Throws HmmError EINVAL for anything but a handle of this version. Its space may be gone.
 */
export function parseHandle(value: unknown): AddressSpaceHandle {
  const { machineId, machine, space } = readFields(value, KIND, "space.handle");
  if (!Number.isSafeInteger(space)) throw damaged("space.handle");
  return { kind: KIND, version: VERSION, machineId, machine, space: space as number };
}

/** Throws HmmError EINVAL for anything but a driver's handle of this version. */
export function parseDriverHandle(value: unknown): DriverHandle {
  const { machineId, machine } = readFields(value, DRIVER_KIND, "driver.handle");
  return { kind: DRIVER_KIND, version: VERSION, machineId, machine };
}

/** Each field is read once. What throws when it is read is no handle either. */
function readFields(value: unknown, kind: string, name: string): CommonFields {
  try {
    return checkedFields(value, kind, name);
  } catch (error) {
    if (error instanceof HmmError) throw error;
    throw damaged(name);
  }
}

function checkedFields(value: unknown, wanted: string, name: string): CommonFields {
  const fields = (typeof value === "object" && value !== null ? value : {}) as Partial<
    Record<keyof AddressSpaceHandle, unknown>
  >;
  const { kind, version, machineId, space } = fields;
  if (kind !== wanted) {
    const refuse = refusalBy("attach");
    throw refuse(`the handle is ${formatValue(value)} and none; pass on ${name} as it was given`);
  }
  if (version !== VERSION) {
    throw refusalBy("attach")(
      `its handle is of version ${formatValue(version)}, not ${VERSION}; use one version of hmm-ts in all threads`,
    );
  }
  const machine = readMachineHandle(fields.machine);
  if (typeof machineId !== "string" || machine === undefined) throw damaged(name);
  return { machineId, machine, space };
}

function damaged(name: string): HmmError {
  return refusalBy("attach")(`its handle is damaged; pass on ${name} as it was given`);
}
