/** @module devices/software/command: what a command of the host is given, and what comes of it. */

import type { Errno, Task } from "../../driver-interface.ts";
import type { FaultService } from "../service/fault-service.ts";

/** How a command ended. */
export interface CommandOutcome {
  /** 0, or why it failed. */
  readonly errno: Errno;
  /** With an errno: the page at which it failed. */
  readonly page: number;
  readonly pages: number;
  readonly faults: number;
}

/** What a command is given: the range, and the caller's bytes that it fills or empties. */
export interface CommandRequest {
  readonly address: number;
  readonly lengthBytes: number;
  /** Of `lengthBytes` bytes for READ and WRITE, of a byte for each page for SNAPSHOT. */
  readonly bytes: Uint8Array;
}

export interface Command {
  /** The access that it makes, for error messages. */
  readonly access: "read" | "write";
  readonly run: (service: FaultService, request: CommandRequest) => Task<CommandOutcome>;
}
