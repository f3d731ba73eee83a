/**
 * @module A status line at the bottom of a terminal, redrawn in place and removed before other
 * output. If the stream is no terminal, it writes nothing.
 */

import type { Terminal } from "./terminal.ts";

const REDRAW_MS = 100;
const CLEAR_LINE = "\r\u001B[K";
const WIDTH_ELSE = 80;

export class StatusLine {
  readonly #terminal: Terminal;
  readonly #now: () => number;
  #drawnAtMs = -Infinity;
  #isShown = false;

  constructor(terminal: Terminal, now: () => number = () => performance.now()) {
    this.#terminal = terminal;
    this.#now = now;
  }

  /** Draws the line, cut to the width of the terminal; at most ten times a second. */
  update(text: string): void {
    const { err, errColors, mayRedraw } = this.#terminal;
    if (!mayRedraw) return;
    const nowMs = this.#now();
    if (nowMs - this.#drawnAtMs < REDRAW_MS) return;
    this.#drawnAtMs = nowMs;
    const width = (err.columns ?? WIDTH_ELSE) - 1;
    err.write(
      CLEAR_LINE + errColors.dim(text.length > width ? `${text.slice(0, width - 1)}…` : text),
    );
    this.#isShown = true;
  }

  /** Takes the line off the screen. The next update draws at once. */
  clear(): void {
    if (this.#isShown) this.#terminal.err.write(CLEAR_LINE);
    this.#isShown = false;
    this.#drawnAtMs = -Infinity;
  }
}
