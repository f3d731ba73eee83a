/**
 * @module How much of a search is done, and so how much is left. The weighted backtrack estimator
 * of Kilby, Slaney, Thiebaux and Walsh ("Estimating Search Tree Size", AAAI 2006), which is Knuth's
 * ("Estimating the Efficiency of Backtrack Programs", 1975) for a search that goes through the tree
 * in order: a leaf whose ancestors have b1, b2, ... branches stands for a part 1 / (b1 b2 ...) of
 * the tree; n leaves that together stand for a part f of it lead to the estimate n / f.
 *
 * It would be without bias if the order of the branches were random and their number known. Neither
 * is so here: an engine that reduces finds branches while it goes, which makes the estimate too
 * small at the beginning (a hundredth of the way on by up to fifty times), and later branches are
 * smaller because more sleeps in them, which makes it too large. On the programs of the counts it
 * was between a seventh and twenty times the truth from a tenth of the way on, mostly within a
 * factor of three, and is exact at the end. A branch that is found takes the part that is done back
 * a little.
 */

/** What is left of an exploration, estimated. */
export interface Estimate {
  /** Executions of the whole exploration, with those that are given up. */
  readonly executions: number;
  /** Part of the search that is done, from 0 to 1. */
  readonly fraction: number;
}

/**
 * The part of a depth-first search that is done, between two executions: at each depth `tried`
 * branches are done and `todoAt` of it are known to be left, and one is being explored, except at
 * the last depth.
 */
export function fractionOf(tried: readonly number[], todoAt: (depth: number) => number): number {
  let fraction = 0;
  for (let depth = tried.length - 1; depth >= 0; depth--) {
    const done = tried[depth]!;
    const current = depth === tried.length - 1 ? 0 : 1;
    const branches = done + current + todoAt(depth);
    fraction = branches === 0 ? 1 : (done + current * fraction) / branches;
  }
  return fraction;
}

/**
 * Of a search that has carried out so many executions; undefined as long as nothing can be said.
 */
export function estimateFrom(
  executions: number,
  fraction: number | undefined,
): Estimate | undefined {
  if (fraction === undefined || fraction <= 0) return undefined;
  return { executions: Math.round(executions / fraction), fraction };
}
