/** What the program and the thread that maps have agreed on: the values in the pages. */

/** What round `round` stores into page `i`. */
export function tagOf(i: number, round: number): number {
  return ((i + 1) << 20) | round;
}

/** The page of a value, -1 for that of a fresh page, which is 0. */
export function pageOfTag(tag: number): number {
  return (tag >>> 20) - 1;
}

export function roundOfTag(tag: number): number {
  return tag & 0xf_ffff;
}
