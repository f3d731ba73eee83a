/** @module The Worker of a supervised command: runs the program, and sends what it writes. */

import { parentPort, workerData } from "node:worker_threads";

import { onInterrupt } from "../interruption.ts";
import { runProgram } from "../program.ts";
import { terminalOf } from "../terminal.ts";
import type { StreamFacts, FromCommand, SupervisedStart } from "./messages.ts";
import { hearLoading } from "./loading.ts";

const post = (message: FromCommand): void => parentPort?.postMessage(message);
const { args, out, err, mayRedraw } = workerData as SupervisedStart;

function stream(
  to: "out" | "err",
  { isTTY, columns }: StreamFacts,
): {
  readonly isTTY: boolean;
  readonly columns: number | undefined;
  readonly write: (text: string) => void;
} {
  return { isTTY, columns, write: (text) => post({ kind: "write", to, text }) };
}

hearLoading({
  loading: (path, seconds) => post({ kind: "loading", path, seconds }),
  loaded: () => post({ kind: "loaded" }),
});
const terminal = terminalOf(stream("out", out), stream("err", err), {
  outHasColors: out.hasColors,
  errHasColors: err.hasColors,
  mayRedraw,
});
using _ = onInterrupt(() => post({ kind: "stopping" }));
const status = await runProgram(args, terminal, true);
post({ kind: "ended", status });
