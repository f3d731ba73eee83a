/**
 * @module The map page: countries of the world, classified pixel by pixel by a kernel that follows
 * the pointers of a tree, on a GPU with as little memory as the reader likes. `mountWorld` fills an
 * element of the site's page (or of world.html) with it.
 */

import "../live/live.css";
import "./world.css";
import { paint } from "../../command/src/countries/map-colours.ts";
import { element } from "../live/elements.ts";
import { requestIsolation } from "../live/isolation.ts";
import { FramesView } from "./frames-view.ts";
import { type View, WHOLE_WORLD, boxOf, describe, moved, zoomed } from "./view.ts";
import { type MapSource, SITE_MAPS, mapOf } from "./world-maps.ts";
import { type Picture, WorldModel, wholePages } from "./world-model.ts";

const WIDTH = 512;
/** The first picture of a view has so many columns. */
const SKETCH_WIDTH = 128;
/** Budgets are powers of two from here on; the slider moves by halves of one. */
const BUDGET_LEAST = 2 ** 18;
const BUDGET_STEPS = 10;
const BUDGET_DEFAULT_STEP = 4;
const PAN = 0.25;
const ZOOM = 0.5;

const KEYS: Readonly<Record<string, (view: View) => View>> = {
  ArrowLeft: (view) => moved(view, -PAN, 0),
  ArrowRight: (view) => moved(view, PAN, 0),
  ArrowUp: (view) => moved(view, 0, PAN),
  ArrowDown: (view) => moved(view, 0, -PAN),
  "+": (view) => zoomed(view, ZOOM),
  "-": (view) => zoomed(view, 1 / ZOOM),
  Home: () => WHOLE_WORLD,
};

/** Fills `root`. `base`: the address of the site. Returns what ends the page's Workers. */
export async function mountWorld(root: HTMLElement, base: string): Promise<() => void> {
  root.classList.add("live", "world");
  const title = element("h1", {}, "The world, from a page table");
  const refuse = (text: string): (() => void) => {
    root.replaceChildren(title, element("p", { class: "live-refusal", role: "alert" }, text));
    return () => undefined;
  };
  if (!("gpu" in navigator) || navigator.gpu === undefined) {
    return refuse(
      "This browser has no WebGPU, which draws the map. Use one that has, over HTTPS or from " +
        "localhost. On the command line, `hmm run countries --device software --png world.png` " +
        "draws the same map without a GPU.",
    );
  }
  const isolation = await requestIsolation(base);
  if (isolation === "reloading") return () => undefined;
  if (isolation !== "ready") return refuse(`This page needs shared memory. ${isolation.missing}`);
  const page = new WorldPage();
  root.replaceChildren(title, introduction(), page.root);
  page.start();
  return () => page.end();
}

function introduction(): HTMLElement {
  const text =
    "Each pixel asks which country it is in. A kernel on the GPU follows the pointers of a tree of " +
    "borders in this page's address space, and pages of the tree come to it on demand. Drag the " +
    "memory that it may have, zoom with the wheel or + and \u2212, and move with the arrow keys.";
  return element("p", { class: "live-introduction" }, text);
}

/** Whose the borders are. Their licence asks for it. */
function creditOf({ origin, detail }: MapSource): readonly (Node | string)[] {
  if (origin === "yours") return [`Borders from your file ${detail}`];
  const href = "https://www.openstreetmap.org/copyright";
  const source = element("a", { href }, "OpenStreetMap contributors");
  return ["Borders \u00a9 ", source, `, ODbL 1.0, ${detail}`];
}

class WorldPage {
  readonly root: HTMLElement;
  readonly #canvas = element("canvas", {
    width: String(WIDTH),
    height: String(WIDTH / 2),
    tabindex: "0",
    role: "img",
    "aria-label": "Map of countries",
  });
  readonly #status = element("p", { class: "world-status", role: "status" }, "Starting\u2026");
  readonly #place = element("p", { class: "world-place", "aria-live": "polite" });
  readonly #budget = element("input", {
    type: "range",
    min: "0",
    max: String(BUDGET_STEPS),
    value: String(BUDGET_DEFAULT_STEP),
    "aria-label": "Memory of the device",
  });
  readonly #budgetText = element("output");
  readonly #frames = new FramesView();
  readonly #maps = element("select", { "aria-label": "Borders" });
  readonly #file = element("input", { type: "file", accept: ".json,.geojson", hidden: "" });
  readonly #credit = element("p", { class: "world-credit" });
  /** Of the map that is being loaded. */
  #loading = new AbortController();
  #model: WorldModel | undefined;
  #view: View = WHOLE_WORLD;
  #aborter = new AbortController();
  #isEnded = false;

  constructor() {
    const button = (text: string, label: string, change: (view: View) => View): HTMLElement => {
      const made = element("button", { type: "button", "aria-label": label }, text);
      made.addEventListener("click", () => this.#go(change(this.#view)));
      return made;
    };
    const buttons = element("div", { class: "live-buttons", role: "group", "aria-label": "Map" });
    buttons.append(
      button("+", "Closer", (view) => zoomed(view, ZOOM)),
      button("\u2212", "Farther", (view) => zoomed(view, 1 / ZOOM)),
      button("Whole world", "Whole world", () => WHOLE_WORLD),
    );
    const memory = element("label", { class: "world-budget" }, "Memory of the device ");
    memory.append(this.#budget, this.#budgetText);
    const map = element("section", { class: "world-map", "aria-label": "Map" }, buttons);
    map.append(this.#chooser(), this.#canvas, this.#place, this.#status, this.#credit);
    const device = element("section", { class: "world-device", "aria-label": "Device" });
    device.append(element("h2", {}, "Device"), memory, this.#frames.root);
    this.root = element("div", { class: "world-body" }, map, device);
    this.#listen();
    this.#describe(undefined);
  }

  /** Which borders: those of the site, or a file of the reader's. */
  #chooser(): HTMLElement {
    for (const { label } of SITE_MAPS) this.#maps.append(element("option", {}, label));
    this.#maps.addEventListener("change", () => {
      const source = SITE_MAPS[this.#maps.selectedIndex];
      if (source !== undefined) void this.#load(source);
    });
    this.#file.addEventListener("change", () => {
      const [file] = this.#file.files ?? [];
      this.#file.value = ""; // the same one may be chosen again
      if (file === undefined) return;
      const { source, forget } = mapOf(file);
      void this.#load(source).finally(forget);
    });
    const open = element("button", { type: "button" }, "Open a file\u2026");
    open.title = "A GeoJSON file with borders, such as that of @geo-maps/countries-land-1m";
    open.addEventListener("click", () => this.#file.click());
    const label = element("label", {}, "Borders ");
    label.append(this.#maps);
    const chooser = element("div", { class: "world-maps" }, label, open);
    chooser.append(this.#file);
    return chooser;
  }

  start(): void {
    const [first] = SITE_MAPS;
    if (first !== undefined) void this.#load(first);
  }

  /** Loads borders and draws them. The page, and the map before, can be used meanwhile. */
  async #load(source: MapSource): Promise<void> {
    this.#loading.abort();
    const { signal } = (this.#loading = new AbortController());
    try {
      const say = (text: string): void => this.#say(`Loading: ${text}`);
      const model = await WorldModel.open(source, say, signal);
      if (this.#isEnded || signal.aborted) return await model.dispose();
      this.#aborter.abort(); // what is drawn of the map before
      const before = this.#model;
      this.#model = model;
      this.#credit.replaceChildren(...creditOf(source));
      await before?.dispose();
      await this.#changeBudget();
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    }
  }

  end(): void {
    this.#isEnded = true;
    this.#loading.abort();
    this.#aborter.abort();
    void this.#model?.dispose();
  }

  #listen(): void {
    const canvas = this.#canvas;
    canvas.addEventListener("keydown", (event) => {
      const change = KEYS[event.key];
      if (change === undefined) return;
      event.preventDefault();
      this.#go(change(this.#view));
    });
    const partOf = (event: MouseEvent): readonly [number, number] => {
      const { left, top, width, height } = canvas.getBoundingClientRect();
      return [(event.clientX - left) / width, (event.clientY - top) / height];
    };
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const [x, y] = partOf(event);
        this.#go(zoomed(this.#view, 2 ** (event.deltaY / 300), x, y));
      },
      { passive: false },
    );
    let from: readonly [number, number] | undefined;
    canvas.addEventListener("pointerdown", (event) => {
      from = partOf(event);
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointerup", (event) => {
      if (from === undefined) return;
      const [x, y] = partOf(event);
      if (x !== from[0] || y !== from[1]) this.#go(moved(this.#view, from[0] - x, y - from[1]));
      from = undefined;
    });
    this.#budget.addEventListener("input", () => this.#showBudget());
    this.#budget.addEventListener("change", () => void this.#changeBudget());
    this.#showBudget();
  }

  get #budgetBytes(): number {
    return wholePages(BUDGET_LEAST * 2 ** (Number(this.#budget.value) / 2));
  }

  #showBudget(): void {
    this.#budgetText.textContent = ` ${Math.round(this.#budgetBytes / 1024).toLocaleString("en")} KiB`;
  }

  async #changeBudget(): Promise<void> {
    const model = this.#model;
    if (model === undefined) return;
    this.#aborter.abort();
    this.#say("Making a device\u2026");
    try {
      await model.setBudget(this.#budgetBytes);
      this.#frames.begin(this.#budgetBytes, model.built.bytes);
      this.#go(this.#view);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Draws another view, first roughly. Gives up what is being drawn. */
  #go(view: View): void {
    this.#view = view;
    this.#aborter.abort();
    this.#aborter = new AbortController();
    this.#describe(undefined);
    void this.#draw(view, this.#aborter.signal);
  }

  async #draw(view: View, signal: AbortSignal): Promise<void> {
    const model = this.#model;
    if (model === undefined) return;
    this.#say("Drawing\u2026");
    try {
      for (const width of [SKETCH_WIDTH, WIDTH]) {
        const picture = await model.draw(boxOf(view), width, signal);
        if (signal.aborted) return;
        this.#show(picture);
      }
      this.#say(`Drawn by ${nameOf(model.adapter)}`);
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    }
  }

  #show(picture: Picture): void {
    const { raster, answers, stats, milliseconds } = picture;
    const pixels = paint(answers);
    const image = new ImageData(raster.width, raster.height);
    for (let i = 0; i < answers.length; i++) {
      image.data.set(pixels.subarray(3 * i, 3 * i + 3), 4 * i);
      image.data[4 * i + 3] = 255;
    }
    const canvas = this.#canvas;
    canvas.width = raster.width;
    canvas.height = raster.height;
    canvas.getContext("2d")?.putImageData(image, 0, 0);
    this.#frames.draw(stats, milliseconds);
    this.#describe(picture);
  }

  /** What is seen, and which country its middle is in. */
  #describe(picture: Picture | undefined): void {
    const text = describe(this.#view);
    if (picture === undefined) return void (this.#place.textContent = `${text}.`);
    const { raster, answers } = picture;
    const middle = Math.floor(raster.height / 2) * raster.width + Math.floor(raster.width / 2);
    const country = this.#model?.built.names[(answers[middle] ?? 0) - 1] ?? "no country";
    const found = new Set(answers);
    found.delete(0);
    this.#place.textContent = `${text}. In the middle: ${country}. Countries in view: ${found.size}.`;
  }

  #say(text: string): void {
    this.#status.textContent = text;
  }

  #fail(error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    this.#say(`This did not work: ${text}`);
  }
}

function nameOf(adapter: WorldModel["adapter"]): string {
  if (adapter === undefined) return "a GPU";
  const { vendor, architecture, device, description } = adapter;
  return [vendor, architecture, device, description].filter((one) => one !== "").join(" ");
}
