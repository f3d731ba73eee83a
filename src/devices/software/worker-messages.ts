/**
 * @module devices/software/worker-messages
 * What a device's owner and its threads say to each other. Plain data: a
 * failure is packed into fields, and made again from them.
 */

import {
  EFAULT,
  HmmError,
  errnoOf,
  type DriverHandle,
  type HmmErrorCode,
} from "../../driver-interface.ts";
import {
  DeviceFault,
  type DeviceFaultFields,
  KernelFailure,
  type KernelFailureFields,
  textOf,
} from "../device-fault.ts";
import type { DevicePlace } from "../service/device-list.ts";

/** The start data of a device thread. */
export interface ThreadStart extends DevicePlace {
  readonly machine: DriverHandle;
  /** Which of the device's threads it is. */
  readonly index: number;
}

/** Owner to thread. */
export type OwnerMessage =
  | {
      readonly kind: "run";
      /** The module of the kernel, and its name there; without a module, its name as served. */
      readonly module: string | undefined;
      readonly exportName: string;
      readonly items: number;
      readonly args: readonly number[];
      readonly mayReplay: boolean;
      /**
       * With all sections of RAM that the owner knows: a buffer that was mapped since the last
       * dispatch may not have reached the thread by itself.
       */
      readonly machine: DriverHandle;
    }
  | { readonly kind: "leave" };

/** Thread to owner: one `ready`, one `ran` for each `run`, one `left`. */
export type ThreadMessage =
  | { readonly kind: "ready"; readonly failure?: FailureMessage | undefined }
  | { readonly kind: "ran"; readonly failure?: FailureMessage | undefined }
  | { readonly kind: "left" };

/** An error on its way between threads. */
export type FailureMessage =
  | {
      readonly kind: "fault";
      readonly fields: DeviceFaultFields;
    }
  | { readonly kind: "kernel"; readonly fields: KernelFailureFields }
  | {
      readonly kind: "error";
      readonly code: HmmErrorCode;
      readonly syscall: string;
      readonly message: string;
    };

/** The fields of an error. */
export function packFailure(error: unknown): FailureMessage {
  if (error instanceof DeviceFault) {
    const { code, address, access, item } = error;
    // A fault is made of an errno, so its code has one.
    return { kind: "fault", fields: { errno: errnoOf(code) ?? EFAULT, address, access, item } };
  }
  if (error instanceof KernelFailure) {
    const { item, code, message } = error;
    return { kind: "kernel", fields: { item, code, message, cause: cloneable(error.cause) } };
  }
  if (error instanceof HmmError)
    return { kind: "error", code: error.code, syscall: error.syscall, message: error.message };
  return {
    kind: "error",
    code: "EIO",
    syscall: "dispatch",
    message: error instanceof Error ? (error.stack ?? error.message) : String(error),
  };
}

/** The error that was packed. */
export function unpackFailure(failure: FailureMessage): HmmError {
  if (failure.kind === "fault") return new DeviceFault(failure.fields);
  if (failure.kind === "kernel") return new KernelFailure(failure.fields);
  return new HmmError(failure.code, failure.syscall, failure.message);
}

/** What a kernel throws may be anything, and may not be cloneable. */
function cloneable(cause: unknown): unknown {
  try {
    return structuredClone(cause);
  } catch {
    return cause instanceof Error ? new Error(textOf(cause)) : textOf(cause);
  }
}
