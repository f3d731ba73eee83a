/** A terminal that keeps what is written to it. */

import { makeTerminal } from "../../command/src/terminal.ts";
import type { Terminal } from "../../command/src/terminal.ts";

export interface CapturedTerminal extends Terminal {
  readonly text: { out: string; err: string };
}

/** `isTTY`: whether both streams claim to be terminals. */
export function capturedTerminal(
  isTTY: boolean = false,
  env: Record<string, string> = {},
): CapturedTerminal {
  const text = { out: "", err: "" };
  const out = { isTTY, write: (part: string): void => void (text.out += part) };
  const err = { isTTY, write: (part: string): void => void (text.err += part) };
  return { ...makeTerminal(out, err, env), text };
}
