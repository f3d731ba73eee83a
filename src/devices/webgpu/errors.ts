/**
 * @module devices/webgpu/errors
 * What a kernel of a WebGPU device can fail with, besides the errors of every device.
 */

import { HmmError, nameErrors } from "../../driver-interface.ts";
import { DeviceFault, type DeviceFaultFields } from "../device-fault.ts";
import type { ProgramError } from "./wgsl/diagnostics.ts";

/** What a {@link WebGpuFault} says. */
export interface WebGpuFaultFields extends DeviceFaultFields {
  /** The workgroup that made the access. */
  readonly workgroup: readonly [x: number, y: number, z: number];
  /** How many workgroups have run and stand: the first ones. */
  readonly committedWorkgroups: number;
  /** All workgroups of the dispatch. */
  readonly workgroups: number;
}

/**
 * A kernel touched what no mapping allows, as a {@link DeviceFault}. `workgroup` made the access.
 * Of the dispatch's workgroups, in the order of their numbers (x first), the first
 * `committedWorkgroups` have run, and their stores stand; nothing of the others has happened.
 */
export class WebGpuFault extends DeviceFault {
  /** The workgroup that made the access. */
  readonly workgroup: readonly [x: number, y: number, z: number];
  /** How many workgroups have run and stand: the first ones. */
  readonly committedWorkgroups: number;
  /** All workgroups of the dispatch. */
  readonly workgroups: number;
  /** There where a number cannot hold the address: `address` is that of its page then. */
  readonly exactAddress: bigint | undefined;

  constructor(fields: WebGpuFaultFields) {
    super(fields);
    this.exactAddress = fields.exactAddress;
    const { workgroup, committedWorkgroups, workgroups } = fields;
    this.workgroups = workgroups;
    this.workgroup = workgroup;
    this.committedWorkgroups = committedWorkgroups;
    const committed =
      committedWorkgroups === 0
        ? "nothing of the dispatch has happened"
        : `the first ${committedWorkgroups} of ${workgroups} workgroups have run`;
    this.message += ` (workgroup ${workgroup.join(", ")}; ${committed})`;
  }

  static {
    nameErrors(this, "WebGpuFault");
  }
}

/** One error of the shader compiler, at a place of the kernel's own text. */
export interface KernelError {
  /** The line of the kernel's text, from 1 on. */
  readonly line: number;
  /** The column, from 1 on, in UTF-16 code units. */
  readonly column: number;
  /** What the compiler says. */
  readonly message: string;
}

/** A kernel's text does not compile. `code` is EINVAL; `errors` has each error with its place. */
export class KernelCompileError extends HmmError {
  /** Each error of the compiler, in the order of the text. */
  readonly errors: readonly KernelError[];

  constructor(errors: readonly ProgramError[]) {
    const list = errors.map(({ line, column, message }) => `${line}:${column}: ${message}`);
    super("EINVAL", "kernel", `Cannot compile the kernel: ${list.join("\n")}`);
    this.errors = errors;
  }

  static {
    nameErrors(this, "KernelCompileError");
  }
}
