/**
 * @module The live page: a program that is stepped through, the maps of the spaces, what the device
 * has done, and a log. `mountLive` fills an element of the site's page (or of index.html beside
 * this file) with it. Everything shown is read from hmm-ts after each step (reading.ts).
 */

import "./live.css";
import { element } from "./elements.ts";
import { requestIsolation } from "./isolation.ts";
import { DEVICE_FRAMES } from "./layout.ts";
import { listSteps } from "./listing.ts";
import { MapView } from "./map-view.ts";
import { STATES } from "./page-states.ts";
import { CountsView } from "./counts-view.ts";
import { ProgramView } from "./program-view.ts";
import { Session, type Standing } from "./session.ts";
import type { Invalidation } from "./watcher.ts";

/** Between the steps of a run: time to read, and to look. */
const RUN_PAUSE_MS = 1200;

/** How often a step that runs is asked for its invalidations: about once a frame. */
const WATCH_MS = 16;

const HEADERS = [
  "Cross-Origin-Opener-Policy: same-origin",
  "Cross-Origin-Embedder-Policy: require-corp",
];

/**
 * Fills `root`. `base`: the address of the site, with a slash at its end. Returns what ends the
 * page's Workers.
 */
export async function mountLive(root: HTMLElement, base: string): Promise<() => void> {
  root.classList.add("live");
  const title = element("h1", {}, "An address space, live");
  root.replaceChildren(title, element("p", {}, "Starting\u2026"));
  const isolation = await requestIsolation(base);
  if (isolation === "reloading") return () => undefined;
  if (isolation !== "ready") {
    root.replaceChildren(title, refusal(isolation.missing));
    return () => undefined;
  }
  const { default: programText } = await import("./program.ts?raw");
  const page = new LivePage(listSteps(programText));
  root.replaceChildren(title, introduction(), page.root);
  await page.restart();
  return () => page.end();
}

function introduction(): HTMLElement {
  return element(
    "p",
    { class: "live-introduction" },
    "A program in this page, a second CPU thread and a device, both Workers, use one address space. ",
    "Step through it. Each square of the map is a page of 4 KiB.",
  );
}

function refusal(missing: string): HTMLElement {
  const text =
    "This page needs shared memory. A browser gives it to a page that is served with these two " +
    "headers, and this one is not:";
  const headers = element("pre", {}, HEADERS.join("\n"));
  const attributes = { class: "live-refusal", role: "alert" };
  return element("div", attributes, element("p", {}, text), headers, element("p", {}, missing));
}

class LivePage {
  readonly root: HTMLElement;
  readonly #program: ProgramView;
  readonly #parent: MapView = new MapView("Parent");
  readonly #child: MapView = new MapView("Child");
  readonly #counts: CountsView = new CountsView();
  readonly #frames: HTMLElement = element("p", { class: "live-frames" });
  readonly #step: HTMLButtonElement = button("Step", () => void this.#advance());
  readonly #run: HTMLButtonElement = button("Run", () => void this.#toggleRun());
  readonly #restart: HTMLButtonElement = button("Restart", () => void this.restart());
  #session: Session | undefined;
  #isBusy = false;
  #isRunning = false;
  #isEnded = false;

  constructor(steps: readonly string[]) {
    this.#program = new ProgramView(steps);
    const buttons = element("div", {
      class: "live-buttons",
      role: "group",
      "aria-label": "Program",
    });
    buttons.append(this.#step, this.#run, this.#restart);
    const left = element("div", { class: "live-left" }, buttons, this.#program.root);
    const device = element("section", { class: "live-device", "aria-label": "Device" });
    device.append(element("h2", {}, "Device"), this.#frames, this.#counts.table);
    const maps = element("div", { class: "live-maps" }, this.#parent.root, this.#child.root);
    const right = element("div", { class: "live-right" }, maps, legend());
    const log = element("section", { class: "live-log", "aria-label": "Log" });
    log.append(element("h2", {}, "Log"), this.#counts.log);
    this.root = element("div", { class: "live-page-body" }, left, right, device, log);
  }

  /** Begins anew, on a new machine. */
  async restart(): Promise<void> {
    if (this.#isBusy) return;
    this.#isRunning = false;
    await this.#whileBusy(async () => {
      await this.#session?.dispose();
      this.#session = undefined;
      const { session, standing } = await Session.open();
      this.#session = session;
      this.#counts.clear(standing.reading);
      this.#draw(standing, false);
    });
  }

  /** Ends what runs, as soon as a step that is under way has ended. */
  end(): void {
    this.#isRunning = false;
    this.#isEnded = true;
    if (!this.#isBusy) void this.#session?.dispose();
  }

  async #advance(): Promise<void> {
    const session = this.#session;
    if (session === undefined || this.#isBusy || this.#program.isAtEnd) return;
    const code = this.#program.code;
    await this.#whileBusy(async () => {
      this.#parent.beginStep();
      const watching = this.#watch(session);
      const standing = await session.step().finally(watching.end);
      this.#counts.add(code, standing.reading, await watching.seen);
      this.#draw(standing, true);
    });
  }

  /**
   * Marks the pages that a step invalidates, in the frames in which it does. `seen`: all of them,
   * after `end`.
   */
  #watch(session: Session): { end: () => void; seen: Promise<readonly Invalidation[]> } {
    let isOver = false;
    const look = async (): Promise<readonly Invalidation[]> => {
      const seen: Invalidation[] = [];
      for (;;) {
        const isLast = isOver;
        for (const one of await session.takeInvalidations()) {
          seen.push(one);
          this.#parent.invalidate(one.startPage, one.endPage);
        }
        if (isLast) return seen;
        await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
      }
    };
    return { end: () => (isOver = true), seen: look() };
  }

  async #toggleRun(): Promise<void> {
    if (this.#isRunning) {
      this.#isRunning = false;
      this.#drawButtons();
      return;
    }
    this.#isRunning = !this.#program.isAtEnd;
    while (this.#isRunning) {
      await this.#advance();
      if (this.#program.isAtEnd) this.#isRunning = false;
      this.#drawButtons();
      if (this.#isRunning) await new Promise((resolve) => setTimeout(resolve, RUN_PAUSE_MS));
    }
  }

  async #whileBusy(work: () => Promise<void>): Promise<void> {
    this.#isBusy = true;
    this.#drawButtons();
    try {
      await work();
    } catch (error) {
      this.#isRunning = false;
      this.#counts.fail(error);
    }
    this.#isBusy = false;
    this.#drawButtons();
    if (this.#isEnded) await this.#session?.dispose();
  }

  #draw({ steps, text, reading }: Standing, mayMark: boolean): void {
    this.#program.draw(steps, text);
    this.#parent.draw(reading.parent.pages, reading.snapshot, mayMark);
    this.#child.root.hidden = reading.child === undefined;
    if (reading.child !== undefined) this.#child.draw(reading.child.pages, [], mayMark);
    const held = reading.device.residentPages;
    const squares = "\u25a0".repeat(held) + "\u25a1".repeat(DEVICE_FRAMES - held);
    this.#frames.replaceChildren(
      element("span", { "aria-hidden": "true", class: "live-squares" }, squares),
      ` ${held} of ${DEVICE_FRAMES} frames hold a copy`,
    );
  }

  /** A button that has no use now keeps the focus, so it is not disabled for the browser. */
  #drawButtons(): void {
    const isAtEnd = this.#program.isAtEnd;
    this.#step.setAttribute("aria-disabled", String(this.#isBusy || isAtEnd));
    this.#run.setAttribute("aria-disabled", String(isAtEnd));
    this.#run.textContent = this.#isRunning ? "Pause" : "Run";
    this.#restart.setAttribute("aria-disabled", String(this.#isBusy));
  }
}

function button(text: string, onClick: () => void): HTMLButtonElement {
  const made = element("button", { type: "button" }, text);
  made.addEventListener("click", onClick);
  return made;
}

function legend(): HTMLElement {
  const items = Object.entries(STATES).map(([state, { letter, meaning }]) => {
    const key = element("span", { class: "live-page", "data-state": state }, letter);
    key.setAttribute("aria-hidden", "true");
    return element("li", {}, key, ` ${meaning}`);
  });
  const marks =
    "Beside a letter: s shared too, w written, r read-only. A frame around a page: new. " +
    "A dashed line below it: invalidated by the last step.";
  return element(
    "section",
    { class: "live-legend", "aria-label": "Legend" },
    element("ul", {}, ...items),
    element("p", {}, marks),
  );
}
