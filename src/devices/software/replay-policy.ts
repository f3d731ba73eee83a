/**
 * @module devices/software/replay-policy
 * When giving up a work item at a fault pays, and how many items to have under way. Giving up saves
 * time when one batch brings pages for many items. It costs time in two cases:
 *
 *   - The items want more pages than device memory holds. Then pages are evicted before their items
 *     run again. So the window of items shrinks, down to one; it grows again while replays find
 *     what they need.
 *   - Neighbouring items want the same page. Then a batch has one page in it, and every item given
 *     up was run for nothing. So a pass over the window ends when most of its items wait for pages
 *     that it has met before, and after a batch of few pages the next items stall.
 *
 * Measured on two cores of a shared machine, a page brought by a batch costs 2 to 3 us, one that is
 * stalled for 6 to 7 us. Searches in a tree of which a quarter fits, in random order: 4.5 us each
 * by replaying, 6.0 us by stalling; along a curve that keeps neighbours together: 1.6 us either
 * way, where giving up without these two rules took 2.2 us.
 */

/** Items under way at most. */
export const WINDOW_MAX = 256;
/**
 * Faults of one pass on pages that it has met before: with more of them than this, and than a
 * quarter of the pages met, the pass ends.
 */
const REPEATS_MIN = 2;
/** Pages that a batch must have had for giving items up to have been worth it. */
const WORTHWHILE_PAGES = 4;
/**
 * After a batch that was not, so many items stall instead; twice as many each time, up to the
 * second number.
 */
const STALLING_ITEMS_MIN = 64;
const STALLING_ITEMS_MAX = 4096;

const MET_PAGES = 1024;

/** One thread's policy. */
export class ReplayPolicy {
  /** Items to have under way. */
  windowSize: number = WINDOW_MAX;
  /**
   * Pages that this pass has met, direct-mapped: a page that is pushed out counts as new when it
   * comes again.
   */
  readonly #metPages = new Float64Array(MET_PAGES).fill(-1);
  readonly #metPasses = new Float64Array(MET_PAGES);
  #passes = 0;
  /** Of this pass: items given up; of these, at a page met before; and where the last time, too. */
  #givenUp = 0;
  #repeats = 0;
  #stuck = 0;
  /** Items that will stall, since giving up did not pay; and how many it will be next time. */
  #stallingItems = 0;
  #stallingNext = STALLING_ITEMS_MIN;

  /** A pass over the window begins. */
  startPass(): void {
    this.#passes++;
    this.#givenUp = 0;
    this.#repeats = 0;
    this.#stuck = 0;
  }

  /** An item is about to run: whether it stalls rather than be given up. */
  takeStall(): boolean {
    if (this.#stallingItems === 0) return false;
    this.#stallingItems--;
    return true;
  }

  /** An item was given up at `page`; `isStuck`: the last time, too. True: the pass is to end. */
  noteFault(page: number, isStuck: boolean): boolean {
    this.#givenUp++;
    if (isStuck) this.#stuck++;
    if (this.#hasMet(page)) this.#repeats++;
    if (this.#repeats <= REPEATS_MIN || this.#repeats * 4 <= this.#givenUp) return false;
    this.#judge(this.#givenUp - this.#repeats);
    return true;
  }

  /**
   * The pass is over. Many items that got no further: the pages that were brought for them were
   * evicted before they ran.
   */
  endPass(): void {
    if (this.#stuck * 4 > this.#givenUp) this.windowSize = Math.max(1, this.windowSize >>> 1);
    else if (this.#stuck === 0) this.windowSize = Math.min(WINDOW_MAX, this.windowSize + 8);
  }

  /**
   * A pass ends early, having met `pages` pages: with few of them a batch saves nothing, and every
   * item given up was run for nothing.
   */
  #judge(pages: number): void {
    if (pages >= WORTHWHILE_PAGES) {
      this.#stallingNext = STALLING_ITEMS_MIN;
      return;
    }
    this.#stallingItems = this.#stallingNext;
    this.#stallingNext = Math.min(this.#stallingNext * 2, STALLING_ITEMS_MAX);
  }

  /** Whether an item of this pass has faulted on the page before; from now on one has. */
  #hasMet(page: number): boolean {
    const slot = page & (MET_PAGES - 1);
    const isMet = this.#metPages[slot] === page && this.#metPasses[slot] === this.#passes;
    this.#metPages[slot] = page;
    this.#metPasses[slot] = this.#passes;
    return isMet;
  }
}
