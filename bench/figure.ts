/**
 * @module What a figure is: a ratio between something of this project and the plain thing that it
 * is compared with, both measured in one run, in turns, on one machine. How the turns are taken is
 * in pairs.ts, which figures there are in figures.ts.
 */

/** Where the ratio has to be. */
export interface Bound {
  readonly kind: "at most" | "at least";
  readonly ratio: number;
}

/** One comparison. */
export interface Reading {
  readonly label: string;
  /** One ratio for each round, in the order in which they were taken. */
  readonly ratios: readonly number[];
  /** Medians, for orientation. */
  readonly ours: number;
  readonly plain: number;
  /** Of `ours` and `plain`, such as "ns a load". */
  readonly unit: string;
  /** False: shown to explain the others; the bound does not ask for it. */
  readonly isBound: boolean;
  /** Where it stands in the plot over working sets (load-plot.ts), if it does. */
  readonly point?: { readonly series: string; readonly bytes: number };
}

/** What came out of a figure, or why nothing did. */
export type Measurement =
  | { readonly readings: readonly Reading[]; readonly notMeasured?: undefined }
  | { readonly readings?: undefined; readonly notMeasured: string };

export interface MeasureOptions {
  /** Little work and few rounds: shows that the figure still runs, and its ratios mean nothing. */
  readonly isQuick: boolean;
  /** Hears how many rounds of how many are done. */
  readonly onRound: (done: number, total: number) => void;
}

/** The functions that take a figure, each from a module of its own that only its process loads. */
export type Measure = (options: MeasureOptions) => Promise<Measurement>;

export interface Figure {
  /** On the command line. */
  readonly name: string;
  readonly title: string;
  readonly bound: Bound;
  /** In one sentence. */
  readonly method: string;
  /** What profiles taught, above all where the bound is missed. */
  readonly lessons?: string;
  /**
   * It is about the checker, so it is taken with the modules that the checker is loaded from: those
   * with stepping forms.
   */
  readonly explores?: true;
  readonly load: () => Promise<Measure>;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle]!;
  return sorted.length % 2 === 1 ? upper : (sorted[middle - 1]! + upper) / 2;
}

/** The reading that decides: of those that the bound asks for, the one that is worst for us. */
export function worstReading(readings: readonly Reading[], { kind }: Bound): Reading | undefined {
  const sign = kind === "at most" ? -1 : 1;
  return readings
    .filter(({ isBound }) => isBound)
    .toSorted((a, b) => sign * (median(a.ratios) - median(b.ratios)))[0];
}

/**
 * Whether the median of the worst reading keeps the bound. A ratio counts as 1.0 if it rounds to
 * that.
 */
export function isKept(readings: readonly Reading[], bound: Bound): boolean {
  const worst = worstReading(readings, bound);
  if (worst === undefined) return false;
  const ratio = Math.round(median(worst.ratios) * 100) / 100;
  return bound.kind === "at most"
    ? ratio <= bound.ratio + (bound.ratio === 1 ? 0.05 : 0)
    : ratio >= bound.ratio;
}
