/**
 * @module Where the command writes. Results go to `out`, everything else (progress, errors) to
 * `err`, so that `hmm ... --json | jq` gets only the object.
 *
 * | variable | effect |
 * | --- | --- |
 * | FORCE_COLOR | colours also where there is no terminal; `0` or `false`: none at all; before the others |
 * | NO_COLOR | set to anything: no colours (no-color.org) |
 * | TERM=dumb | no colours, and no line is redrawn: the terminal knows no control codes |
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
  /** Whether a line of `err` can be redrawn in place. */
  readonly mayRedraw: boolean;
}

export type Colors = ReturnType<typeof pc.createColors>;

/** What a terminal can do. */
export interface TerminalAbilities {
  readonly outHasColors: boolean;
  readonly errHasColors: boolean;
  readonly mayRedraw: boolean;
}

export function makeTerminal(
  out: Output,
  err: Output,
  env: Readonly<Record<string, string | undefined>>,
): Terminal {
  const forced = env["FORCE_COLOR"] ?? "";
  const isDumb = env["TERM"] === "dumb";
  const isAllowed = (env["NO_COLOR"] ?? "") === "" && !isDumb;
  const hasColors = ({ isTTY }: Output): boolean =>
    forced === "" ? isAllowed && isTTY === true : forced !== "0" && forced !== "false";
  return terminalOf(out, err, {
    outHasColors: hasColors(out),
    errHasColors: hasColors(err),
    mayRedraw: err.isTTY === true && !isDumb,
  });
}

export function terminalOf(
  out: Output,
  err: Output,
  { outHasColors, errHasColors, mayRedraw }: TerminalAbilities,
): Terminal {
  return {
    out: sized(out),
    err: sized(err),
    outColors: pc.createColors(outHasColors),
    errColors: pc.createColors(errHasColors),
    mayRedraw,
  };
}

/** A terminal that has not been told its size, as those of some containers, says 0 columns. */
function sized(output: Output): Output {
  return {
    write: (text) => output.write(text),
    get isTTY() {
      return output.isTTY;
    },
    get columns() {
      return output.columns === 0 ? undefined : output.columns;
    },
  };
}
