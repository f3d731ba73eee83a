/**
 * @module The progress line of `hmm check`: the progress in the list, and that of the scenario that
 * has been explored longest.
 */

import type { Progress } from "../../../src/checker/explore.ts";
import { progressText } from "../../../src/checker/session/coverage-text.ts";
import { formatCount } from "../quantities.ts";
import type { StatusLine } from "../status-line.ts";

export class CheckProgress {
  readonly #line: StatusLine;
  readonly #total: number;
  /** Jobs under way, the oldest first. */
  readonly #current = new Map<number, { readonly name: string; so?: Progress }>();
  #done: number;

  /** Of `total` scenarios, `done` were explored before. */
  constructor(line: StatusLine, total: number, done: number) {
    this.#line = line;
    this.#total = total;
    this.#done = done;
  }

  started(job: number, name: string): void {
    this.#current.set(job, { name });
    this.#draw();
  }

  progressed(job: number, so: Progress): void {
    const current = this.#current.get(job);
    if (current !== undefined) current.so = so;
    this.#draw();
  }

  ended(job: number): void {
    this.#current.delete(job);
    this.#done++;
    this.#draw();
  }

  #draw(): void {
    const [oldest] = this.#current.values();
    if (oldest === undefined) return;
    const { name, so } = oldest;
    const place = `${formatCount(this.#done + 1)} of ${formatCount(this.#total)}`;
    this.#line.update(`${place}  ${name}${so === undefined ? "" : `  ${progressText(so)}`}`);
  }
}
