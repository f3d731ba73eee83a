/** @module What a supervised command and its supervisor say to each other. */

/** What a command needs to know of a stream of the terminal. */
export interface StreamFacts {
  readonly isTTY: boolean;
  readonly columns: number | undefined;
  readonly hasColors: boolean;
}

/** The start data of the command's Worker. */
export interface SupervisedStart {
  readonly args: readonly string[];
  readonly out: StreamFacts;
  readonly err: StreamFacts;
  readonly mayRedraw: boolean;
}

/** Command to supervisor. */
export type FromCommand =
  | { readonly kind: "write"; readonly to: "out" | "err"; readonly text: string }
  /** It begins to import a module, and gives it so many seconds. */
  | { readonly kind: "loading"; readonly path: string; readonly seconds: number }
  | { readonly kind: "loaded" }
  /** It has heard of Ctrl-C, and ends soon. */
  | { readonly kind: "stopping" }
  | { readonly kind: "ended"; readonly status: number };

/** Supervisor to command: Ctrl-C. */
export const INTERRUPT = "interrupt";
