/**
 * @module What the test of the live page looks at in a page: the map's letters, and what a person
 * without a mouse or a screen would miss. Both run in the page.
 */

import type { Page } from "playwright-core";

/** What page code needs of the DOM, whose types the other tests have not. */
interface PageElement {
  readonly hidden: boolean;
  readonly textContent: string;
  readonly tagName: string;
  getAttribute(name: string): string | null;
  querySelector(selector: string): PageElement | null;
  querySelectorAll(selector: string): Iterable<PageElement>;
  closest(selector: string): PageElement | null;
}

/** Of each map that is shown, its rows: the letter of each page, with its marks. */
export function readMaps(page: Page): Promise<string[][]> {
  return page
    .locator(".live-map:visible")
    .evaluateAll((maps) =>
      (maps as PageElement[]).map((map) =>
        Array.from(map.querySelectorAll("[role=row]"), (row) =>
          Array.from(row.querySelectorAll("[role=gridcell]"), (cell) => cell.textContent).join(" "),
        ),
      ),
    );
}

/** A line for each thing without a name or out of the keyboard's reach, and for too wide a page. */
export function findProblems(page: Page): Promise<string[]> {
  return page.locator("html").evaluate((html) => {
    const root = html as PageElement & { scrollWidth: number; clientWidth: number };
    const found: string[] = [];
    const all = (selector: string): PageElement[] =>
      Array.from(root.querySelectorAll(selector)).filter((one) => one.closest("[hidden]") === null);
    const nameOf = (one: PageElement): string =>
      one.getAttribute("aria-label") ?? one.textContent.trim();
    if (root.getAttribute("lang") === null) found.push("the page has no language");
    if (all("h1").length !== 1) found.push("the page has not one h1");
    if (all("[aria-live]").length === 0) found.push("nothing is announced");
    const named = "button, section, [role=group], [role=grid], [role=gridcell], [role=log]";
    for (const one of all(named)) {
      if (nameOf(one) === "") found.push(`${one.tagName} has no name`);
    }
    for (const one of all("section, [role=grid]")) {
      if (one.getAttribute("aria-label") === null) found.push(`${one.tagName} has no label`);
    }
    for (const grid of all("[role=grid]")) {
      const stops = Array.from(grid.querySelectorAll('[tabindex="0"]')).length;
      if (stops !== 1) found.push(`a grid has ${stops} stops of the Tab key`);
    }
    for (const row of all("[role=row] > *")) {
      const role = row.getAttribute("role") ?? "none";
      if (!["gridcell", "rowheader"].includes(role)) found.push(`a row has a ${role}`);
    }
    if (root.scrollWidth > root.clientWidth)
      found.push(`the page is ${root.scrollWidth - root.clientWidth} pixels too wide`);
    return found;
  });
}
