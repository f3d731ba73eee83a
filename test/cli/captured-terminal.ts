/** A terminal that keeps what is written to it. */

import { makeTerminal } from "../../command/src/terminal.ts";
import type { Terminal } from "../../command/src/terminal.ts";

export interface CapturedTerminal extends Terminal {
  readonly text: { out: string; err: string };
}

/** `isTTY`: whether both streams claim to be terminals, of so many columns. */
export function capturedTerminal(
  isTTY: boolean = false,
  env: Record<string, string> = {},
  columns?: number,
): CapturedTerminal {
  const text = { out: "", err: "" };
  const out = { isTTY, columns, write: (part: string): void => void (text.out += part) };
  const err = { isTTY, columns, write: (part: string): void => void (text.err += part) };
  return { ...makeTerminal(out, err, env), text };
}
