/**
 * @module The script of a report's page: it steps through recordings and draws them. The source
 * text of {@link ReportPage} is inserted into the page. So it may use nothing but types of this
 * module and of others. It does not run in Node.
 */

import type { Recording, RecordedStep, TaskState } from "../replay/recording.ts";
import type { Comparison } from "./comparison.ts";
import type { TimelineRow, TimelineRows } from "./timeline-rows.ts";

/** One schedule, as the page shows it. */
export interface ReportView {
  readonly recording: Recording;
  /** Show only what the finding depends on. */
  readonly rows: TimelineRows;
  readonly allRows: TimelineRows;
}

export interface ReportEntry {
  readonly failing: ReportView;
  readonly passing: ReportView | undefined;
  readonly beside: Comparison | undefined;
}

/** The parts of a DOM element that the page uses. */
interface PageElement {
  textContent: string | null;
  className: string;
  value: string;
  max: string;
  checked: boolean;
  hidden: boolean;
  disabled: boolean;
  readonly tagName: string;
  readonly offsetTop: number;
  readonly offsetLeft: number;
  readonly offsetHeight: number;
  readonly offsetWidth: number;
  readonly style: { setProperty(name: string, value: string): void };
  append(...children: (PageElement | string)[]): void;
  replaceChildren(...children: (PageElement | string)[]): void;
  setAttribute(name: string, value: string): void;
  removeAttribute(name: string): void;
  addEventListener(type: string, listener: (event: PageEvent) => void): void;
  scrollIntoView(options: { block: "nearest" }): void;
  querySelector(selector: string): PageElement | null;
}

interface PageEvent {
  readonly key: string;
  readonly target: PageElement | null;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly altKey: boolean;
  preventDefault(): void;
}

export interface PageDocument {
  title: string;
  createElement(tag: string): PageElement;
  createElementNS(space: string, tag: string): PageElement;
  getElementById(id: string): PageElement | null;
  addEventListener(type: string, listener: (event: PageEvent) => void): void;
}

/**
 * Draws recordings into the elements of the page. report.ts makes the elements with these ids.
 */
export class ReportPage {
  readonly #page: PageDocument;
  readonly #entries: readonly ReportEntry[];
  #entry = 0;
  #isPassing = false;
  #isAll = false;
  /** How many steps have been performed. */
  #position = 0;
  /** For each step, the element of its row. */
  readonly #cells = new Map<number, PageElement>();
  #rowElements: { row: TimelineRow; element: PageElement }[] = [];

  constructor(page: PageDocument, entries: readonly ReportEntry[]) {
    this.#page = page;
    this.#entries = entries;
  }

  start(): void {
    const on = (id: string, type: string, act: () => void): void =>
      this.#at(id).addEventListener(type, act);
    on("first", "click", () => this.#go(0));
    on("back", "click", () => this.#go(this.#position - 1));
    on("forward", "click", () => this.#go(this.#position + 1));
    on("last", "click", () => this.#go(Infinity));
    on("slider", "input", () => this.#go(Number(this.#at("slider").value)));
    on("all", "change", () => this.#choose(this.#entry, this.#isPassing));
    on("failing", "click", () => this.#choose(this.#entry, false));
    on("passing", "click", () => this.#choose(this.#entry, true));
    on("chooser", "change", () => this.#choose(Number(this.#at("chooser").value), false));
    this.#page.addEventListener("keydown", (event) => this.#key(event));
    const names = this.#entries.map(({ failing }, i) => {
      const { scenario, finding } = failing.recording;
      const option = this.#make("option", "", `${scenario}: ${finding?.kind ?? "passes"}`);
      option.setAttribute("value", String(i));
      return option;
    });
    this.#at("chooser").replaceChildren(...names);
    this.#at("chooser").hidden = names.length === 1;
    this.#choose(0, false);
  }

  get #view(): ReportView {
    const { failing, passing } = this.#entries[this.#entry]!; // chosen from the list of them
    return this.#isPassing && passing !== undefined ? passing : failing;
  }

  #at(id: string): PageElement {
    const element = this.#page.getElementById(id);
    if (element === null)
      throw new Error(`Cannot show the report: the page has no element "${id}"`);
    return element;
  }

  #make(tag: string, className: string, ...children: (PageElement | string)[]): PageElement {
    const element = this.#page.createElement(tag);
    if (className !== "") element.className = className;
    element.append(...children);
    return element;
  }

  #key(event: PageEvent): void {
    const tag = event.target?.tagName;
    if (tag === "INPUT" || tag === "SELECT" || event.ctrlKey || event.metaKey || event.altKey)
      return;
    const moves: Readonly<Record<string, number>> = {
      ArrowRight: this.#position + 1,
      ArrowDown: this.#position + 1,
      ArrowLeft: this.#position - 1,
      ArrowUp: this.#position - 1,
      Home: 0,
      End: Infinity,
    };
    const target = moves[event.key];
    if (target === undefined) return;
    event.preventDefault();
    this.#go(target);
  }

  /** Shows the failing schedule of a finding, or the nearest one that passes, at its last step. */
  #choose(entry: number, isPassing: boolean): void {
    this.#entry = entry;
    this.#isAll = this.#at("all").checked;
    const { passing } = this.#entries[entry]!; // the chooser lists them
    this.#isPassing = isPassing && passing !== undefined;
    this.#at("passing").disabled = passing === undefined;
    this.#at("failing").setAttribute("aria-pressed", String(!this.#isPassing));
    this.#at("passing").setAttribute("aria-pressed", String(this.#isPassing));
    this.#headline();
    this.#beside();
    this.#timeline();
    this.#at("slider").max = String(this.#view.recording.steps.length);
    for (const [i] of this.#entries.entries()) {
      const section = this.#page.getElementById(`text-${i}`);
      if (section !== null) section.hidden = i !== entry;
    }
    this.#show(this.#view.recording.steps.length);
  }

  #headline(): void {
    const { recording } = this.#view;
    const { finding, length, preemptions } = recording;
    const kind = this.#make(
      "span",
      finding === undefined ? "kind good" : "kind bad",
      finding?.kind ?? "passes",
    );
    this.#at("headline").replaceChildren(
      kind,
      ` ${finding?.message ?? "nothing is wrong in this schedule"}`,
    );
    this.#at("summary").textContent = recording.summary;
    const sites = (finding?.sites ?? []).map(({ task, operation, label, place }) =>
      this.#make("li", "", `${task}: ${operation} ${label} `, this.#make("code", "", place ?? "")),
    );
    const cycle = (finding?.cycle ?? []).map(
      (task) => `${recording.tasks[task] ?? ""} waits for ${recording.ends[task]?.label ?? ""} → `,
    );
    if (cycle.length > 0)
      sites.push(
        this.#make(
          "li",
          "bad",
          `${cycle.join("")}${recording.tasks[finding?.cycle[0] ?? 0] ?? ""}`,
        ),
      );
    this.#at("sites").replaceChildren(...sites);
    const stacks = (finding?.stacks ?? []).map(({ title, frames }) => {
      const list = this.#make(
        "ol",
        "stack",
        ...frames.map((frame) => this.#make("li", "", this.#make("code", "", frame))),
      );
      return this.#make(
        "details",
        "",
        this.#make("summary", "", `${title}: ${frames[0] ?? ""}`),
        list,
      );
    });
    this.#at("stacks").replaceChildren(...stacks);
    const effort = `${preemptions} preemption${preemptions === 1 ? "" : "s"}, ${length} steps`;
    this.#at("effort").replaceChildren(`${effort}. `, this.#make("code", "", recording.command));
    this.#page.title = `${recording.scenario}: ${finding?.kind ?? "passes"}`;
  }

  /** The failing and the passing schedule in two columns. A click goes to the step. */
  #beside(): void {
    const { beside, passing } = this.#entries[this.#entry]!; // the chooser lists them
    const section = this.#at("beside");
    section.hidden = beside === undefined;
    if (beside === undefined) return;
    const rows = beside.rows.map(([left, right], i) => {
      const row = this.#tableRow(i === beside.first ? "parts" : "", [
        left?.text ?? "",
        right?.text ?? "",
      ]);
      row.addEventListener("click", () => {
        const step = this.#isPassing ? right?.step : left?.step;
        if (step !== undefined) this.#go(step + 1);
      });
      return row;
    });
    const head = this.#make(
      "tr",
      "",
      this.#make("th", "bad", "fails"),
      this.#make("th", "good", "passes"),
    );
    const title = this.#make(
      "h2",
      "",
      `The nearest passing schedule diverges at step ${beside.first + 1}`,
    );
    const replay = this.#make("p", "", this.#make("code", "", passing?.recording.command ?? ""));
    section.replaceChildren(title, replay, this.#make("table", "", head, ...rows));
  }

  /** The grid of rows. Columns: number, lifetimes, and for each task its bars and its text. */
  #timeline(): void {
    const { recording, rows: shown, allRows } = this.#view;
    const { rows, objects, tasks } = this.#isAll ? allRows : shown;
    const grid = this.#at("timeline");
    grid.style.setProperty(
      "grid-template-columns",
      `max-content max-content repeat(${tasks.length}, max-content minmax(9rem, 1fr))`,
    );
    this.#cells.clear();
    const heads = tasks.flatMap((task) => [
      this.#cell("", "columnheader"),
      this.#cell(recording.tasks[task] ?? "", "columnheader"),
    ]);
    const lives = this.#cell(objects.map(({ name }) => name).join(" "), "columnheader");
    lives.className = "lives-head";
    const head = this.#make("div", "row head", this.#cell("", "columnheader"), lives, ...heads);
    head.setAttribute("role", "row");
    this.#rowElements = rows.map((row) => ({ row, element: this.#row(row, tasks) }));
    const svg = this.#page.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("id", "arrows");
    svg.setAttribute("aria-hidden", "true");
    grid.replaceChildren(head, ...this.#rowElements.map(({ element }) => element), svg);
  }

  #cell(text: string, role: string): PageElement {
    const cell = this.#make("div", "", text);
    cell.setAttribute("role", role);
    return cell;
  }

  #row(row: TimelineRow, tasks: readonly number[]): PageElement {
    const isStep = row.kind === "step";
    const lives = this.#make(
      "div",
      "lives",
      ...row.lives.map((part) => this.#make("span", `life ${part}`)),
    );
    const cells = tasks.flatMap((task, column) => {
      const bars = (row.bars[task] ?? []).map(({ part, mode, label }) => {
        const bar = this.#make("span", `bar ${mode} ${part}`);
        if (part !== "none") bar.setAttribute("title", `holds ${label} (${mode})`);
        return bar;
      });
      const isHere = row.task === task || (row.kind === "fold" && column === 0);
      const said = this.#make("span", "said", isHere ? row.text : "");
      const text = this.#make("div", isHere ? "text" : "", said);
      text.setAttribute("role", "cell");
      if (isStep && isHere) this.#cells.set(row.step, said);
      return [this.#make("div", "bars", ...bars), text];
    });
    const number = this.#cell(isStep ? String(row.step + 1) : "", "cell");
    number.className = "number";
    const element = this.#make(
      "div",
      `row ${row.kind}${row.isBad ? " bad" : ""}`,
      number,
      lives,
      ...cells,
    );
    element.setAttribute("role", "row");
    if (isStep) {
      const clock = this.#view.recording.steps[row.step]?.clock.join(" ") ?? "";
      element.setAttribute("title", `vector clock [${clock}]`);
      element.addEventListener("click", () => this.#go(row.step + 1));
    }
    return element;
  }

  /** Shows the state after `position` steps. */
  #go(position: number): void {
    this.#show(position);
    for (const { row, element } of this.#rowElements) {
      if (row.kind === "step" && row.step === this.#position - 1)
        element.scrollIntoView({ block: "nearest" });
    }
  }

  #show(position: number): void {
    const { recording } = this.#view;
    this.#position = Math.max(0, Math.min(position, recording.steps.length));
    const step = this.#position - 1;
    this.#at("slider").value = String(this.#position);
    this.#at("slider").setAttribute("aria-valuetext", this.#spoken(step));
    this.#at("where").textContent = `step ${this.#position} of ${recording.steps.length}`;
    this.#at("back").disabled = this.#position === 0;
    this.#at("forward").disabled = this.#position === recording.steps.length;
    for (const { row, element } of this.#rowElements) {
      const isCurrent = row.kind === "step" && row.step === step;
      if (isCurrent) element.setAttribute("aria-current", "step");
      else element.removeAttribute("aria-current");
      element.setAttribute("data-when", row.step > step ? "later" : "done");
    }
    this.#arrows(step);
    this.#details(recording.steps[step]);
    this.#tasks(step);
    this.#words(step);
    this.#tables(step);
  }

  #spoken(step: number): string {
    const { steps, tasks } = this.#view.recording;
    const told = steps[step];
    return told === undefined
      ? "before the first step"
      : `${step + 1}: ${tasks[told.task] ?? ""} ${told.text}`;
  }

  #details(step: RecordedStep | undefined): void {
    const { tasks } = this.#view.recording;
    if (step === undefined) {
      this.#at("details").replaceChildren(this.#make("p", "", "Before the first step."));
      return;
    }
    const stack = step.stack.map(({ file, line, call }) =>
      this.#make("li", "", this.#make("code", "", `${file}:${line}`), ` ${call}`),
    );
    const switched = this.#switchText(step);
    this.#at("details").replaceChildren(
      this.#make("p", "what", this.#make("b", "", tasks[step.task] ?? ""), ` ${step.text}`),
      ...(switched === "" ? [] : [this.#make("p", "", switched)]),
      this.#make("p", "", `vector clock [${step.clock.join(" ")}]`),
      this.#make("ol", "stack", ...stack),
    );
  }

  #switchText({ switched }: RecordedStep): string {
    const { steps, tasks } = this.#view.recording;
    const before = tasks[steps[this.#position - 2]?.task ?? -1] ?? "";
    if (switched === "preempted") return `${before} was preempted before it.`;
    if (switched === "waiting") return `${before} could not go on.`;
    return switched === "over" ? `${before} was over.` : "";
  }

  /** What each task does at this point, and what it holds. */
  #tasks(step: number): void {
    const { tasks, steps, locks } = this.#view.recording;
    const states: readonly TaskState[] | undefined = steps[step]?.states;
    const rows = tasks.map((name, task) => {
      const held = locks.filter(
        (hold) => hold.task === task && hold.from <= step && (hold.to < 0 || hold.to > step),
      );
      const state = states?.[task];
      return this.#tableRow(`state ${state?.state ?? "ready"}`, [
        name,
        state?.text ?? "has not begun",
        held
          .map(({ label, mode }) => (mode === "exclusive" ? label : `${label} (${mode})`))
          .join(", "),
      ]);
    });
    this.#at("tasks").replaceChildren(this.#table(["task", "", "holds"], rows));
  }

  /** Every word that changes in the schedule, with its value at this point. */
  #words(step: number): void {
    const values = new Map<string, { value: string; isNew: boolean; before: string }>();
    for (const [i, { changes }] of this.#view.recording.steps.entries()) {
      for (const { name, before, after } of changes) {
        const known = values.get(name);
        if (i > step) {
          if (known === undefined) values.set(name, { value: before, isNew: false, before });
        } else values.set(name, { value: after, isNew: i === step, before });
      }
    }
    const rows = [...values].map(([name, { value, isNew, before }]) =>
      this.#tableRow(isNew ? "changed" : "", [name, isNew ? `${before} → ${value}` : value]),
    );
    this.#at("words").replaceChildren(
      rows.length === 0 ? "No word changes." : this.#table(["word", "value"], rows),
    );
  }

  #tables(step: number): void {
    const { recording } = this.#view;
    const tables = recording.steps[step]?.tables ?? recording.tables;
    const earlier = recording.steps[step - 1]?.tables ?? recording.tables;
    const before = new Set(earlier.flatMap(({ rows }) => rows.map((row) => row.join())));
    const drawn = tables.flatMap(({ title, columns = [], rows }) => [
      this.#make("h3", "", title),
      this.#table(
        columns,
        rows.map((row) => this.#tableRow(before.has(row.join()) ? "" : "changed", row)),
      ),
    ]);
    this.#at("tables").replaceChildren(...drawn);
    this.#at("state").hidden = drawn.length === 0;
  }

  #table(heads: readonly string[], rows: readonly PageElement[]): PageElement {
    const cells = heads.map((head) => this.#make("th", "", head));
    return this.#make(
      "table",
      "",
      ...(heads.length === 0 ? [] : [this.#make("tr", "", ...cells)]),
      ...rows,
    );
  }

  #tableRow(className: string, cells: readonly string[]): PageElement {
    return this.#make("tr", className, ...cells.map((cell) => this.#make("td", "", cell)));
  }

  /** The edges of happens-before, as arrows. Those of the current step stand out. */
  #arrows(step: number): void {
    const svg = this.#page.getElementById("arrows");
    if (svg === null) return;
    const paths = this.#view.recording.edges.flatMap(({ from, to, why }) => {
      const [a, b] = [this.#cells.get(from), this.#cells.get(to)];
      if (a === undefined || b === undefined || to > step) return [];
      return [
        this.#path(
          a,
          b,
          `edge ${why.replace(" ", "-")}${from === step || to === step ? " current" : ""}`,
        ),
      ];
    });
    const racing = this.#rowElements
      .filter(({ row }) => row.isBad && row.kind === "note")
      .map(({ element }) => element.querySelector(".text .said"));
    const [first, second] = racing;
    const isRace = this.#view.recording.finding?.kind === "data-race" && !this.#isPassing;
    if (isRace && first && second) paths.push(this.#path(first, second, "edge race"));
    svg.replaceChildren(...paths);
  }

  #path(from: PageElement, to: PageElement, className: string): PageElement {
    const y1 = from.offsetTop + from.offsetHeight / 2;
    const y2 = to.offsetTop + to.offsetHeight / 2;
    // From the near edge of one text to the near edge of the other; within a column, around their
    // left.
    const isRight = from.offsetLeft < to.offsetLeft;
    const isSame = from.offsetLeft === to.offsetLeft;
    const x1 = isRight ? from.offsetLeft + from.offsetWidth + 4 : from.offsetLeft - 4;
    const x2 = isRight || isSame ? to.offsetLeft - 4 : to.offsetLeft + to.offsetWidth + 4;
    const middle = isSame ? x1 - 14 : (x1 + x2) / 2;
    const path = this.#page.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", className);
    path.setAttribute("d", `M${x1},${y1} C${middle},${y1} ${middle},${y2} ${x2},${y2}`);
    return path;
  }
}
