/**
 * @module Where the command writes. Results go to `out`, everything else (progress, errors) to
 * `err`, so that `hmm ... --json | jq` gets only the object.
 */

import pc from "picocolors";

/** The part of a stream that the command needs. `isTTY` is true on a terminal. */
export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

export interface Terminal {
  readonly out: Output;
  readonly err: Output;
  /** Colours for `out` and for `err`: each does nothing where there are none. */
  readonly outColors: Colors;
  readonly errColors: Colors;
}

export type Colors = ReturnType<typeof pc.createColors>;

/** Colours go to terminals only, and never where NO_COLOR is set to anything (no-color.org). */
export function makeTerminal(
  out: Output,
  err: Output,
  env: Readonly<Record<string, string | undefined>>,
): Terminal {
  const allowed = (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb";
  return {
    out,
    err,
    outColors: pc.createColors(allowed && out.isTTY === true),
    errColors: pc.createColors(allowed && err.isTTY === true),
  };
}
