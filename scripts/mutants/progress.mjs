/**
 * @module A status line at the bottom of a terminal, redrawn at most ten times a second. If
 * standard error is no terminal, it writes nothing.
 */

const REDRAW_MS = 100;
const BAR_WIDTH = 24;
const CLEAR_LINE = "\r\u001B[K";

export class Progress {
  #drawnAtMs = -Infinity;
  #isShown = false;
  #startMs = performance.now();

  /**
   * @param {string} what
   * @param {number} done
   * @param {number} total
   */
  update(what, done, total) {
    const { stderr } = process;
    const nowMs = performance.now();
    if (!stderr.isTTY || nowMs - this.#drawnAtMs < REDRAW_MS) return;
    this.#drawnAtMs = nowMs;
    const filled = Math.round((BAR_WIDTH * done) / Math.max(1, total));
    const leftSeconds =
      done === 0 ? undefined : ((nowMs - this.#startMs) / 1000 / done) * (total - done);
    const left = leftSeconds === undefined ? "" : `, ${Math.ceil(leftSeconds / 60)} min left`;
    const line = `${"█".repeat(filled)}${"░".repeat(BAR_WIDTH - filled)} ${done} of ${total}${left}  ${what}`;
    stderr.write(CLEAR_LINE + line.slice(0, stderr.columns - 1));
    this.#isShown = true;
  }

  clear() {
    if (this.#isShown) process.stderr.write(CLEAR_LINE);
    this.#isShown = false;
  }
}
