/**
 * @module The device's memory as squares, one a page: which hold a page of the space, and how many
 * came and went with the last picture. Letters and numbers say the same as colours.
 */

import type { WebGpuStats } from "hmm-ts/webgpu";
import { element } from "../live/elements.ts";

/** A square stands for so many frames that there are at most so many squares. */
const SQUARES_MAX = 512;
const PAGE_BYTES = 4096;

export class FramesView {
  readonly root: HTMLElement = element("div", { class: "world-frames" });
  readonly #squares = element("div", { class: "world-squares", "aria-hidden": "true" });
  readonly #summary = element("p", { class: "world-summary" });
  readonly #counts = element("tbody");
  #before: WebGpuStats | undefined;
  #frames = 1;

  constructor() {
    const heads = ["", "last picture", "in all"].map((text) =>
      element("th", { scope: "col" }, text),
    );
    const head = element("thead", {}, element("tr", {}, ...heads));
    const caption = element("caption", {}, "What the device did");
    const table = element("table", {}, caption, head, this.#counts);
    this.root.append(this.#squares, this.#summary, table);
  }

  /** A new device, with nothing in its memory yet. */
  begin(budgetBytes: number, treeBytes: number): void {
    this.#before = undefined;
    this.#frames = budgetBytes / PAGE_BYTES;
    const share = Math.min(100, Math.round((100 * budgetBytes) / treeBytes));
    const tree = `${Math.round(treeBytes / 1024).toLocaleString("en")} KiB`;
    this.#summary.textContent = `Memory for ${share} % of the tree, which has ${tree}.`;
    this.#counts.replaceChildren();
    this.#drawSquares(0, 0);
  }

  /** After a picture, which took so long. */
  draw(stats: WebGpuStats, milliseconds: number): void {
    const before = this.#before;
    this.#before = stats;
    const came = stats.pagesToDevice - (before?.pagesToDevice ?? 0);
    this.#frames = stats.memoryPages;
    this.#drawSquares(stats.residentPages, Math.min(came, stats.residentPages));
    const rows: readonly (readonly [string, number, number])[] = [
      ["pages that came", came, stats.pagesToDevice],
      ["pages that went", stats.evictions - (before?.evictions ?? 0), stats.evictions],
      ["faults", stats.faults - (before?.faults ?? 0), stats.faults],
      ["passes", stats.passes - (before?.passes ?? 0), stats.passes],
    ];
    this.#counts.replaceChildren(
      ...rows.map(([name, last, all]) => {
        const cells = [last, all].map((value) => element("td", {}, value.toLocaleString("en")));
        return element("tr", {}, element("th", { scope: "row" }, name), ...cells);
      }),
    );
    const held = stats.residentPages.toLocaleString("en");
    const frames = stats.memoryPages.toLocaleString("en");
    this.#summary.textContent = `${held} of ${frames} frames hold a page; ${Math.round(milliseconds)} ms.`;
  }

  /** `fresh` of the frames that hold a page got it with the last picture. */
  #drawSquares(held: number, fresh: number): void {
    const each = Math.max(1, Math.ceil(this.#frames / SQUARES_MAX));
    const squares = Array.from({ length: Math.ceil(this.#frames / each) }, (_, i) => {
      const frame = i * each;
      const state = frame < held - fresh ? "held" : frame < held ? "fresh" : "free";
      return element("span", { "data-state": state });
    });
    this.#squares.replaceChildren(...squares);
  }
}
