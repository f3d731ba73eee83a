/** @module The program as the live page shows it: its steps, and which one comes next. */

import { element } from "./elements.ts";

export class ProgramView {
  readonly root: HTMLElement;
  readonly #codes: readonly string[];
  readonly #items: readonly HTMLElement[];
  readonly #caption: HTMLElement = element("p", { class: "live-caption", "aria-live": "polite" });
  #next = 0;

  constructor(codes: readonly string[]) {
    this.#codes = codes;
    this.#items = codes.map((code) => element("li", {}, element("code", {}, code)));
    const list = element("ol", { class: "live-program", tabindex: "0" }, ...this.#items);
    this.root = element("section", { "aria-label": "The program" }, this.#caption, list);
  }

  /** Whether no step is left. */
  get isAtEnd(): boolean {
    return this.#next === this.#codes.length;
  }

  /** The text of the next step. */
  get code(): string {
    return this.#codes[this.#next] ?? "";
  }

  /** `steps` have been run. `text`: what the next one does. */
  draw(steps: number, text: string): void {
    this.#next = steps;
    for (const [index, item] of this.#items.entries()) {
      item.classList.toggle("live-done", index < steps);
      if (index === steps) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
    }
    const place = this.isAtEnd ? "" : `Next, ${steps + 1} of ${this.#codes.length}: `;
    this.#caption.replaceChildren(element("strong", {}, place), text);
    this.#scrollTo(this.#items[steps]);
  }

  /** Within the list alone: the page stays where the reader has it. */
  #scrollTo(item: HTMLElement | undefined): void {
    const list = item?.parentElement;
    if (item === undefined || list === null || list === undefined) return;
    list.scrollTop = item.offsetTop - (list.clientHeight - item.offsetHeight) / 2;
  }
}
