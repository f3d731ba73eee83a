/**
 * @module What a search has to find out before it knows which steps depend on each other. It begins
 * with the least: no condition reads the memory as a whole, no word is strict, equal tasks cannot
 * be told apart. An execution that shows otherwise ends the search. The search then begins again
 * and knows more.
 *
 * D1. A word is lenient while all that happens to it commutes: a reference count that cannot reach
 *     0, a queue on which nobody waits, a completion whose waits have no timeout. A word is strict
 *     once an execution has shown otherwise.
 * D2. Why nothing is missed. Take the program in which a lenient word really is so: the count
 *     begins far above 0, the wake does nothing. That program and the one under test do the same up
 *     to the first step which shows that the word is strict. All executions of a class agree on
 *     whether they show it, and an execution that shows it still does when it goes on
 *     (lenience.ts). So a search of the one program that meets no such step has searched the other.
 *     If any execution has such a step, the search meets one, because until then it cannot tell the
 *     two programs apart.
 */

export interface Dependence {
  /**
   * Some task tests conditions that do not say what they read: the memory as a whole is watched.
   */
  readonly scans: boolean;
  /** Words that were seen to be strict. */
  readonly strict: readonly number[] | typeof ALL;
  /** Tasks that seemed to be equal are not, or nothing settles their order (equal-tasks.ts). */
  readonly tellsTasks: boolean;
  /**
   * Some task that waits on a queue does not go straight back when it wakes for no reason
   * (spurious.ts, S2).
   */
  readonly wakesQueues: boolean;
}

export const ALL = "all";
/**
 * So many words are learnt one by one; a scenario with more (objects at ever new places) is taken
 * to be strict.
 */
const LEARNT = 64;

export const LEAST: Dependence = {
  scans: false,
  strict: [],
  tellsTasks: false,
  wakesQueues: false,
};

/**
 * An execution has shown that more depends on each other than was supposed: the exploration begins
 * again.
 */
export class DependsOnMore extends Error {
  readonly more: Dependence;

  constructor(more: Partial<Dependence>) {
    super("more steps depend on each other than was supposed");
    this.more = { ...LEAST, ...more };
  }
}

/** What both say. */
export function addDependence(a: Dependence, b: Dependence): Dependence {
  const scans = a.scans || b.scans;
  const tellsTasks = a.tellsTasks || b.tellsTasks;
  const wakesQueues = a.wakesQueues || b.wakesQueues;
  if (a.strict === ALL || b.strict === ALL) return { scans, strict: ALL, tellsTasks, wakesQueues };
  const strict = [...new Set([...a.strict, ...b.strict])];
  return { scans, strict: strict.length > LEARNT ? ALL : strict, tellsTasks, wakesQueues };
}
