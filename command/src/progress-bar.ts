/**
 * @module A progress bar: one line on a terminal, redrawn at most ten times a second, and removed
 * at the end. If the stream is no terminal, it writes nothing.
 */

import { formatCount } from "./quantities.ts";
import type { Terminal } from "./terminal.ts";

const REDRAW_MS = 100;
const BAR_WIDTH = 24;
const COLUMNS_ELSE = 80;
const CLEAR_LINE = "\r\u001B[K";

export class ProgressBar {
  private readonly terminal: Terminal;
  private readonly now: () => number;
  private drawnAtMs: number = -Infinity;
  private stage: string = "";
  private stageStartMs: number = 0;
  private shown: boolean = false;

  constructor(terminal: Terminal, now: () => number = () => performance.now()) {
    this.terminal = terminal;
    this.now = now;
  }

  /** `done` of `total` things of `stage`. A total of 0 says that nobody knows. */
  update(stage: string, done: number, total: number): void {
    const { err, errColors, mayRedraw } = this.terminal;
    if (!mayRedraw) return;
    const nowMs = this.now();
    if (stage !== this.stage) {
      this.stage = stage;
      this.stageStartMs = nowMs;
    } else if (nowMs - this.drawnAtMs < REDRAW_MS) return;
    this.drawnAtMs = nowMs;
    const room = (err.columns ?? COLUMNS_ELSE) - 1;
    const share = total > 0 ? Math.min(1, done / total) : 0;
    const elapsed = (nowMs - this.stageStartMs) / 1000;
    const rate = elapsed > 0.2 && done > 0 ? `  ${formatCount(done / elapsed)}/s` : "";
    const counts =
      total > 0
        ? `${String(Math.floor(share * 100)).padStart(3)} %  ${formatCount(done)}${rate}`
        : "";
    const label = stage.padEnd(10).slice(0, room);
    const width = Math.max(0, Math.min(BAR_WIDTH, room - label.length - 2 - counts.length));
    const filled = Math.round(share * width);
    const bar = "█".repeat(filled) + errColors.dim("░".repeat(width - filled));
    const said = ` ${bar} ${counts}`;
    err.write(
      `${CLEAR_LINE}${label}${label.length + 2 + width + counts.length <= room ? said : ""}`,
    );
    this.shown = true;
  }

  /** Takes the bar off the screen. */
  clear(): void {
    if (this.shown) this.terminal.err.write(CLEAR_LINE);
    this.shown = false;
    this.stage = "";
  }
}
