/**
 * @module devices/webgpu/messages
 * What a device's owner and its Worker say to each other. Plain data; an order has a number, and
 * its answer the same.
 */

import {
  EFAULT,
  errnoOf,
  HmmError,
  type DriverHandle,
  type HmmErrorCode,
} from "../../driver-interface.ts";
import { DeviceFault, type DeviceFaultFields } from "../device-fault.ts";
import type { SnapshotPage } from "../driver.ts";
import type { DevicePlace } from "../service/listed-devices.ts";
import { KernelCompileError, WebGpuFault, type WebGpuFaultFields } from "./errors.ts";
import { type ProgramError, WgslError } from "./wgsl/diagnostics.ts";

/** Which adapter is wanted. */
export interface AdapterChoice {
  readonly powerPreference: "low-power" | "high-performance" | undefined;
  readonly forceFallback: boolean;
  /** For Dawn, in Node: such as `backend=vulkan`. */
  readonly nodeFlags: readonly string[] | undefined;
  /** How long an adapter may take to come. */
  readonly timeoutMs: number;
  /** Bytes of one buffer of the pool at most. */
  readonly bufferBytesMax: number;
}

/** What an adapter says of itself; empty where it says nothing. */
export interface AdapterReport {
  /** Who made it, as WebGPU names it. */
  readonly vendor: string;
  /** Its family, as WebGPU names it. */
  readonly architecture: string;
  /** Its model, where the host tells it. */
  readonly device: string;
  /** Text for people, where the host gives one. */
  readonly description: string;
}

/** The start data of a device's Worker. */
export interface WorkerStart {
  readonly machine: DriverHandle;
  readonly place: DevicePlace;
  readonly memoryBytes: number;
  /** Of them, for direct ranges. */
  readonly rangeBytes: number;
  /** Pages that kernels have stored to stay on the GPU (private-pages.ts). */
  readonly isPrivate: boolean;
  readonly faultTimeoutMs: number;
  readonly loopRoundsMax: number;
  readonly loopMsMax: number;
  readonly isQuiet: boolean;
  readonly adapter: AdapterChoice;
}

/** A buffer or a texture that a program makes on the device. */
export type ResourceSpec =
  | {
      readonly kind: "buffer";
      readonly name: string;
      readonly lengthBytes: number;
      /** Undefined: zeros. */
      readonly bytes: Uint8Array<ArrayBuffer> | undefined;
    }
  | {
      readonly kind: "texture";
      readonly name: string;
      readonly width: number;
      readonly height: number;
      readonly format: string;
      /** It may be bound as `texture_storage_2d` too. */
      readonly isStorage: boolean;
      readonly bytes: Uint8Array<ArrayBuffer>;
    };

/** What is bound to a variable. */
export type BindingOrder =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: "resource"; readonly id: number }
  | { readonly kind: "sampler"; readonly sampler: object }
  /** An object of the program's own GPUDevice. It is never posted. */
  | { readonly kind: "own"; readonly resource: object }
  /** A direct range: an address that is a multiple of 256, a length that is one of 4. */
  | { readonly kind: "range"; readonly address: number; readonly lengthBytes: number };

/** Which kernel. */
export interface KernelOrder {
  readonly code: string;
  readonly entryPoint: string;
  /** It was declared so. */
  readonly isPure: boolean;
}

export interface DispatchOrder extends KernelOrder {
  readonly groups: readonly [number, number, number];
  readonly args: readonly number[];
  readonly window: number;
  /** By the name of the variable. */
  readonly bindings: Readonly<Record<string, BindingOrder>>;
}

export type Order =
  | ({ readonly kind: "dispatch" } & DispatchOrder)
  | ({ readonly kind: "compile" } & KernelOrder)
  | { readonly kind: "read"; readonly address: number; readonly lengthBytes: number }
  | { readonly kind: "write"; readonly address: number; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: "snapshot"; readonly address: number; readonly lengthBytes: number }
  | { readonly kind: "prefetch"; readonly address: number; readonly lengthBytes: number }
  /** `resource`: a number that its owner gives it. */
  | { readonly kind: "make"; readonly resource: number; readonly spec: ResourceSpec }
  | {
      readonly kind: "fill";
      readonly resource: number;
      readonly at: number;
      readonly bytes: Uint8Array<ArrayBuffer>;
    }
  | { readonly kind: "fetch"; readonly resource: number }
  | { readonly kind: "unmake"; readonly resource: number }
  | { readonly kind: "lose" }
  /** Ends what is under way; nothing but `leave` follows. */
  | { readonly kind: "stop" }
  | { readonly kind: "leave" };

/** Owner to Worker. `machine`: with all sections of RAM that the owner knows. */
export type OwnerMessage =
  | {
      readonly kind: "order";
      readonly id: number;
      readonly order: Order;
      readonly machine: DriverHandle;
    }
  | { readonly kind: "abort"; readonly id: number };

/** What orders are answered. */
export interface Answers {
  readonly dispatch: { readonly passes: number; readonly seconds: number };
  readonly compile: undefined;
  readonly read: {
    readonly bytes: Uint8Array<ArrayBuffer>;
    readonly pages: number;
    readonly faults: number;
  };
  readonly write: { readonly pages: number; readonly faults: number };
  readonly snapshot: readonly SnapshotPage[];
  readonly prefetch: { readonly pages: number; readonly faults: number };
  readonly make: undefined;
  readonly fill: undefined;
  readonly fetch: Uint8Array<ArrayBuffer>;
  readonly unmake: undefined;
  readonly lose: undefined;
  readonly stop: undefined;
  readonly leave: undefined;
}

/** Worker to owner: one `ready`, one `answer` for each order. */
export type WorkerMessage =
  | {
      readonly kind: "ready";
      readonly adapter: AdapterReport;
    }
  | { readonly kind: "failed"; readonly failure: Failure }
  | {
      readonly kind: "answer";
      readonly id: number;
      readonly value: Answers[Order["kind"]];
      readonly failure: Failure | undefined;
    };

/** An error on its way. */
export type Failure =
  | { readonly kind: "webgpu fault"; readonly fields: WebGpuFaultFields }
  | { readonly kind: "fault"; readonly fields: DeviceFaultFields }
  | { readonly kind: "compile"; readonly errors: readonly ProgramError[] }
  | {
      readonly kind: "error";
      readonly code: HmmErrorCode;
      readonly syscall: string;
      readonly message: string;
    };

export function packFailure(error: unknown): Failure {
  if (error instanceof WebGpuFault) return { kind: "webgpu fault", fields: packWebGpuFault(error) };
  if (error instanceof DeviceFault) {
    const { code, address, access, item } = error;
    // A fault is made of an errno, so its code has one.
    return { kind: "fault", fields: { errno: errnoOf(code) ?? EFAULT, address, access, item } };
  }
  if (error instanceof WgslError) return { kind: "compile", errors: error.errors };
  if (error instanceof HmmError)
    return { kind: "error", code: error.code, syscall: error.syscall, message: error.message };
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { kind: "error", code: "EIO", syscall: "device", message };
}

function packWebGpuFault(error: WebGpuFault): WebGpuFaultFields {
  const { code, address, exactAddress, access, item, reason } = error;
  const { workgroup, committedWorkgroups, workgroups } = error;
  const errno = errnoOf(code) ?? EFAULT;
  const where = { workgroup, committedWorkgroups, workgroups };
  const exact = exactAddress === undefined ? {} : { exactAddress };
  return { errno, address, ...exact, access, item, reason, ...where };
}

export function unpackFailure(failure: Failure): HmmError {
  switch (failure.kind) {
    case "webgpu fault":
      return new WebGpuFault(failure.fields);
    case "fault":
      return new DeviceFault(failure.fields);
    case "compile":
      return new KernelCompileError(failure.errors);
    default:
      return new HmmError(failure.code, failure.syscall, failure.message);
  }
}
