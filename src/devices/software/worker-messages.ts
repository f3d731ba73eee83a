/**
 * @module devices/software/worker-messages
 * What a device's owner and its threads say to each other. Plain data: a
 * failure is packed into fields, and made again from them.
 */

import {
  EFAULT,
  EINVAL,
  HmmError,
  beginWithLines,
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
import { kernelLinesOf } from "./kernel-stack.ts";
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
       * With all sections of RAM that the owner knows, if there was something new since the last
       * dispatch: a buffer that was mapped may not have reached the thread by itself.
       */
      readonly machine: DriverHandle | undefined;
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
      /** The kernel's lines of its stack (kernel-stack.ts). */
      readonly lines: readonly string[];
    }
  | {
      readonly kind: "kernel";
      readonly fields: KernelFailureFields;
      readonly lines: readonly string[];
    }
  | {
      readonly kind: "error";
      readonly code: HmmErrorCode;
      readonly syscall: string;
      readonly message: string;
    };

type Read<T> = Partial<Record<T extends T ? keyof T : never, unknown>>;

function fieldsOf<T>(value: unknown): Read<T> {
  return typeof value === "object" && value !== null ? value : {};
}

/**
 * What a thread has said; undefined for anything else. A Worker may be the program's own, and
 * another code in it may post what it likes.
 */
export function readThreadMessage(value: unknown): ThreadMessage | undefined {
  const { kind, failure } = fieldsOf<ThreadMessage>(value);
  if (kind === "left") return { kind };
  if (kind !== "ready" && kind !== "ran") return undefined;
  return failure === undefined ? { kind } : { kind, failure: readFailure(failure) };
}

function readFailure(value: unknown): FailureMessage {
  const { kind, fields, lines, code, syscall, message } = fieldsOf<FailureMessage>(value);
  if (kind === "fault") {
    const { errno, address, access, item } = fieldsOf<DeviceFaultFields>(fields);
    const isAccess = access === "read" || access === "write";
    if (isNumber(errno) && isNumber(address) && isAccess && isItem(item))
      return { kind, fields: { errno, address, access, item }, lines: readLines(lines) };
  }
  if (kind === "kernel") {
    const { item, code: of, message: text, cause } = fieldsOf<KernelFailureFields>(fields);
    if (isCode(of) && typeof text === "string" && isItem(item))
      return { kind, fields: { item, code: of, message: text, cause }, lines: readLines(lines) };
  }
  if (
    kind === "error" &&
    isCode(code) &&
    typeof syscall === "string" &&
    typeof message === "string"
  )
    return { kind, code, syscall, message };
  return {
    kind: "error",
    code: "EIO",
    syscall: "dispatch",
    message:
      "Cannot read what a thread of the device answered: it has not the shape of an answer; let only hmm-ts post to the device's owner",
  };
}

/** What the owner has said; undefined for anything else. */
export function readOwnerMessage(value: unknown): OwnerMessage | undefined {
  type Run = OwnerMessage & { kind: "run" };
  const { kind, module, exportName, items, args, mayReplay, machine } = fieldsOf<Run>(value);
  if (fieldsOf<OwnerMessage>(value).kind === "leave") return { kind: "leave" };
  const isNamed = (module === undefined || typeof module === "string") && isText(exportName);
  const isCounted = Number.isSafeInteger(items) && Number(items) >= 0;
  if (kind !== "run" || !isNamed || !isCounted || typeof mayReplay !== "boolean") return undefined;
  if (!Array.isArray(args) || !args.every(isNumber)) return undefined;
  return {
    kind,
    module,
    exportName,
    items: Number(items),
    args,
    mayReplay,
    machine: machine as DriverHandle | undefined, // checked by DriverThread.adopt
  };
}

/** The start data. Throws HmmError EINVAL for anything else. */
export function readThreadStart(value: unknown): ThreadStart {
  const { machine, recordAt, serial, index } = fieldsOf<ThreadStart>(value);
  const numbers = [recordAt, serial, index];
  if (numbers.every((number) => Number.isSafeInteger(number) && Number(number) >= 0)) {
    return {
      machine: machine as DriverHandle, // checked by DriverThread.attach
      recordAt: Number(recordAt),
      serial: Number(serial),
      index: Number(index),
    };
  }
  throw new HmmError(
    EINVAL,
    "device",
    "Cannot start a thread of the device: its start data are not those of a device; let SoftwareDevice start the Worker",
  );
}

function readLines(value: unknown): string[] {
  return Array.isArray(value) ? value.filter(isText) : [];
}

function isNumber(value: unknown): value is number {
  return typeof value === "number";
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isItem(value: unknown): value is number | undefined {
  return value === undefined || typeof value === "number";
}

function isCode(value: unknown): value is HmmErrorCode {
  return typeof value === "string" && errnoOf(value) !== undefined;
}

/** The fields of an error. */
export function packFailure(error: unknown): FailureMessage {
  if (error instanceof DeviceFault) {
    const { code, address, access, item } = error;
    // A fault is made of an errno, so its code has one.
    const fields = { errno: errnoOf(code) ?? EFAULT, address, access, item };
    return { kind: "fault", fields, lines: kernelLinesOf(error) };
  }
  if (error instanceof KernelFailure) {
    const { item, code, message } = error;
    const fields = { item, code, message, cause: cloneable(error.cause) };
    return { kind: "kernel", fields, lines: kernelLinesOf(error) };
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
  if (failure.kind !== "error") {
    const { kind, fields, lines } = failure;
    const error = kind === "fault" ? new DeviceFault(fields) : new KernelFailure(fields);
    beginWithLines(error, lines);
    return error;
  }
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
