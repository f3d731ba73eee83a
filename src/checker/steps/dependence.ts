/**
 * @module What a search has to learn about a scenario before it knows which steps depend on each
 * other. It begins with the fewest dependences: no condition reads the memory as a whole, all words
 * are commuting, tasks that seem to be symmetric are. An execution that shows otherwise ends the
 * search. The search then begins again and knows more.
 *
 * D1. A word is commuting as long as all that happens to it commutes: a reference count that cannot
 *     reach 0, a queue on which nobody waits, a completion whose waits have no timeout. After an
 *     execution has shown otherwise it is an ordering word: the order of the steps on it matters.
 * D2. Why the search misses nothing. Compare the program under test with a second one, in which all
 *     that happens to the word does commute: its count begins far above 0, or its wake does
 *     nothing. The two do the same up to the first step that shows that the word is an ordering
 *     one. All executions of a class agree on whether they have such a step, and an execution that
 *     has one still has it when it goes on (commuting-words.ts). So if a search of one program
 *     meets no such step, it has searched the other program, too. And if any execution has such a
 *     step, the search meets one: until then it cannot distinguish the two programs.
 */

export interface Dependence {
  /**
   * Some task tests a condition that does not declare what it reads. It may read any word, so the
   * memory counts as one place.
   */
  readonly scans: boolean;
  /** The ordering words (D1). */
  readonly ordering: readonly number[] | typeof ALL;
  /** Symmetry is not used: tasks differ, or no conflict fixes their order (symmetric-tasks.ts). */
  readonly distinguishesTasks: boolean;
  /**
   * Some task that waits on a queue does not queue again at once after a spurious wake (S2 of
   * spurious.ts).
   */
  readonly spuriousQueueWakes: boolean;
}

export const ALL = "all";
/**
 * How many ordering words are learnt one by one. If a scenario has more (objects at ever new
 * addresses), all its words count as ordering ones.
 */
const LEARNT = 64;

export const LEAST: Dependence = {
  scans: false,
  ordering: [],
  distinguishesTasks: false,
  spuriousQueueWakes: false,
};

/**
 * An execution has shown that more steps depend on each other than the search assumed: it begins
 * again.
 */
export class DependsOnMore extends Error {
  readonly more: Dependence;

  constructor(more: Partial<Dependence>) {
    super("more steps depend on each other than the search assumed");
    this.more = { ...LEAST, ...more };
  }
}

/** The dependences of both. */
export function addDependence(a: Dependence, b: Dependence): Dependence {
  const scans = a.scans || b.scans;
  const distinguishesTasks = a.distinguishesTasks || b.distinguishesTasks;
  const spuriousQueueWakes = a.spuriousQueueWakes || b.spuriousQueueWakes;
  if (a.ordering === ALL || b.ordering === ALL)
    return { scans, ordering: ALL, distinguishesTasks, spuriousQueueWakes };
  const ordering = [...new Set([...a.ordering, ...b.ordering])];
  return {
    scans,
    ordering: ordering.length > LEARNT ? ALL : ordering,
    distinguishesTasks,
    spuriousQueueWakes,
  };
}
