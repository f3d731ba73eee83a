/**
 * @module devices/device-fault
 * What goes wrong on a device and is somebody's to know: an access that no mapping allows, and a kernel that threw. Shared by all devices; what an
 * error of the machine looks like is sync/errors.ts.
 */

import { EBUSY, ENODEV, ENOMEM, EPERM, type Errno } from "../sync/errno.ts";
import { HmmError } from "../sync/errors.ts";

/** What a device wanted of an address. Atomics want to write, whichever they are. */
export type DeviceAccess = "read" | "write";

/** What a {@link DeviceFault} says, as plain data that can go from thread to thread. */
export interface DeviceFaultFields {
  readonly errno: Errno;
  readonly address: number;
  readonly access: DeviceAccess;
  /** The work item that made the access; undefined for a command of the host. */
  readonly item: number | undefined;
}

/**
 * A device could not reach an address. `code` is EFAULT (nothing readable is mapped there), EPERM (it may not be written), ENOMEM (RAM or kernel heap is used
 * up), EBUSY (the mapping did not come to rest in time; a write view that is open has this effect), or ENODEV (the device is gone).
 */
export class DeviceFault extends HmmError {
  readonly access: DeviceAccess;
  /** The work item that made the access; undefined for a command of the host. */
  readonly item: number | undefined;
  /** Why, in words. */
  readonly reason: string;
  /** @internal What it was made of. */
  readonly fields: DeviceFaultFields;

  constructor(fields: DeviceFaultFields) {
    const { errno, address, access, item } = fields;
    const reason = reasonOf(errno);
    const where = `${access} address 0x${address.toString(16)}`;
    const who = item === undefined ? "from the device" : `in work item ${item}`;
    super(errno, `device ${access}`, `Cannot ${where} ${who}: ${reason}`, address);
    this.name = "DeviceFault";
    this.fields = fields;
    this.access = access;
    this.item = item;
    this.reason = reason;
  }
}

function reasonOf(errno: Errno): string {
  switch (errno) {
    case EPERM:
      return "the mapping may not be written; map it read-write, or do not store";
    case ENOMEM:
      return "RAM or kernel heap is used up; unmap something, or create the space with more";
    case EBUSY:
      return "its mapping did not come to rest in time; close write views over it, and change it less often";
    case ENODEV:
      return "the device is gone; make a new one";
    default:
      return "nothing readable is mapped there; map it before the device uses it";
  }
}

/** A kernel threw. `cause` is what it threw. The device and the address space go on; items that had run keep their effects. */
export class KernelFailure extends HmmError {
  /** The work item that threw. */
  readonly item: number;

  constructor(item: number, cause: unknown) {
    const what = cause instanceof Error ? cause.message : String(cause);
    super("ECANCELED", "dispatch", `Cannot finish the dispatch: the kernel threw in work item ${item}: ${what}`);
    this.name = "KernelFailure";
    this.item = item;
    this.cause = cause;
  }
}
