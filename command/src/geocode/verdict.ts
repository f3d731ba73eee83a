/**
 * @module The result of checking answers: counts, and a few examples in words. Plain data; parts
 * can be added.
 */

/** How many examples a verdict keeps. */
const EXAMPLE_LIMIT = 5;

export interface Verdict {
  /** Answers looked at. */
  checked: number;
  /** Of these, checked by brute force too. */
  checkedByBruteForce: number;
  /** Answers with at least one fault of any kind. */
  wrong: number;
  /** Another city is nearer, or the answer is no city at all. */
  wrongCities: number;
  /** Population cells whose halves do not belong together or not to that city. */
  tornPopulations: number;
  /** Populations replaced before the question was asked. */
  stalePopulations: number;
  /** Populations that nobody had written yet when the answer was given. */
  prematurePopulations: number;
  /** Answers that read a population after its first rewrite. None: the census proved nothing. */
  rewrittenPopulations: number;
  readonly examples: string[];
}

export function emptyVerdict(): Verdict {
  return {
    checked: 0,
    checkedByBruteForce: 0,
    wrong: 0,
    wrongCities: 0,
    tornPopulations: 0,
    stalePopulations: 0,
    prematurePopulations: 0,
    rewrittenPopulations: 0,
    examples: [],
  };
}

/** Adds `part` to `whole`. */
export function addVerdict(whole: Verdict, part: Verdict): void {
  whole.checked += part.checked;
  whole.checkedByBruteForce += part.checkedByBruteForce;
  whole.wrong += part.wrong;
  whole.wrongCities += part.wrongCities;
  whole.tornPopulations += part.tornPopulations;
  whole.stalePopulations += part.stalePopulations;
  whole.prematurePopulations += part.prematurePopulations;
  whole.rewrittenPopulations += part.rewrittenPopulations;
  for (const example of part.examples) addExample(whole, example);
}

export function addExample(verdict: Verdict, example: string): void {
  if (verdict.examples.length < EXAMPLE_LIMIT) verdict.examples.push(example);
}
