/**
 * @module Estimates how much of a search is done, and so how much is left. It is the weighted
 * backtrack estimator of Kilby, Slaney, Thiebaux and Walsh ("Estimating Search Tree Size", AAAI
 * 2006): the estimator of Knuth ("Estimating the Efficiency of Backtrack Programs", 1975) for a
 * search that visits the tree in order. A leaf whose ancestors have b1, b2, ... branches has the
 * weight 1 / (b1 b2 ...). If n leaves have a total weight of f, the estimate is n / f.
 *
 * The estimator is unbiased if the order of the branches is random and their number is known. Here
 * neither is true:
 *
 * - A reducing engine finds branches during the search. So the estimate is too small at the
 *   beginning: up to fifty times after a hundredth of the search.
 * - Later branches are smaller, because their sleep sets are larger. So it becomes too large.
 *
 * For the programs with published counts, after a tenth of the search the estimate was between 1/7
 * and 20 times the true number, mostly within a factor of three. At the end it is exact. When a
 * branch is found, the fraction goes down a little.
 */

/** What is left of an exploration, estimated. */
export interface Estimate {
  /** Executions of the whole exploration, including those that are given up. */
  readonly executions: number;
  /** The fraction of the search that is done, from 0 to 1. */
  readonly fraction: number;
}

/**
 * The fraction of a depth-first search that is done, between two executions. At each depth, `tried`
 * branches are done and `todoAt(depth)` branches are known to be left. One more is being explored,
 * except at the last depth.
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
 * The estimate after this many executions; undefined as long as there is no basis for one.
 */
export function estimateFrom(
  executions: number,
  fraction: number | undefined,
): Estimate | undefined {
  if (fraction === undefined || fraction <= 0) return undefined;
  return { executions: Math.round(executions / fraction), fraction };
}
