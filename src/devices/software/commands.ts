/**
 * @module devices/software/commands
 * What the host can have the device do without a kernel: the commands of Linux's test device
 * (`lib/test_hmm.c`), with its results and errno values. A command runs as a task in the caller's
 * thread. They stand in a table, so that a new one is an entry.
 */

import type { Command } from "./command.ts";
import { exclusiveCommand } from "./exclusive-command.ts";
import { migrateBackCommand, migrateCommand, prefetchCommand } from "./migrate-command.ts";
import { snapshotCommand } from "./snapshot-command.ts";
import { readCommand, writeCommand } from "./transfer-command.ts";

export type CommandName =
  | "read"
  | "write"
  | "snapshot"
  | "migrate"
  | "migrateBack"
  | "prefetch"
  | "exclusive";

/** The commands. */
export const COMMANDS: { readonly [N in CommandName]: Command } = {
  read: { access: "read", run: readCommand },
  write: { access: "write", run: writeCommand },
  snapshot: { access: "read", run: snapshotCommand },
  migrate: { access: "read", run: migrateCommand },
  migrateBack: { access: "read", run: migrateBackCommand },
  prefetch: { access: "read", run: prefetchCommand },
  exclusive: { access: "write", run: exclusiveCommand },
};
