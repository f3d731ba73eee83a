/**
 * @module What the map says of a page: one of seven states, with the letter that shows it, and what
 * else is so. It is read from `maps()` and `pagemap()` of the space and of the other one; no state
 * is kept here.
 */

import type { MapsEntry, PagemapEntry } from "hmm-ts";

export type PageState = "unmapped" | "none" | "zero" | "present" | "written" | "copied" | "shared";

/** The letter and the meaning of each state, in the order of the legend. */
export const STATES: Readonly<
  Record<PageState, { letter: string; short: string; meaning: string }>
> = {
  unmapped: { letter: "\u00b7", short: "unmapped", meaning: "not mapped" },
  none: { letter: "\u2013", short: "without a page", meaning: "mapped, no page yet" },
  zero: { letter: "0", short: "zeros", meaning: "the page of zeros" },
  present: { letter: "P", short: "present", meaning: "has a frame, nothing stored" },
  written: { letter: "W", short: "written", meaning: "has a frame, written" },
  copied: {
    letter: "D",
    short: "device",
    meaning: "write-protected: the device has, or had, a copy",
  },
  shared: { letter: "S", short: "shared", meaning: "has a frame that parent and child share" },
};

export interface MapPage {
  readonly address: number;
  readonly state: PageState;
  /** What its state does not say: "shared", "written", "read-only". */
  readonly also: readonly string[];
}

/** The pages of `pagemap`, as the map shows them. `others`: the same range of the other space. */
export function describePages(
  maps: readonly MapsEntry[],
  pagemap: readonly PagemapEntry[],
  others: readonly PagemapEntry[],
): MapPage[] {
  return pagemap.map((page, index) => {
    const mapping = maps.find(({ start, end }) => start <= page.address && page.address < end);
    if (mapping === undefined) return { address: page.address, state: "unmapped", also: [] };
    const isShared = page.pfn !== -1 && !page.zero && others[index]?.pfn === page.pfn;
    const state = stateOf(page, isShared);
    const also: string[] = [];
    if (isShared && state !== "shared") also.push("shared");
    if (page.dirty && state !== "written") also.push("written");
    if (mapping.protection === "read") also.push("read-only");
    return { address: page.address, state, also };
  });
}

function stateOf(page: PagemapEntry, isShared: boolean): PageState {
  if (page.zero) return "zero";
  if (page.pfn === -1) return "none";
  if (page.tracked) return "copied";
  if (isShared) return "shared";
  return page.dirty ? "written" : "present";
}

/** One sentence: how many pages are in each state, by the legend's letters and short names. */
export function summarize(pages: readonly MapPage[]): string {
  const parts: string[] = [];
  for (const [state, { short }] of Object.entries(STATES)) {
    const count = pages.filter((page) => page.state === state).length;
    if (count > 0) parts.push(`${count} ${short}`);
  }
  return `${pages.length} pages: ${parts.join(", ")}.`;
}

/** As `0x100000`. */
export function hex(address: number): string {
  return `0x${address.toString(16)}`;
}
