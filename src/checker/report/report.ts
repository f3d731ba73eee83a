/**
 * @module Recordings as one self-contained HTML file. It has the timeline to step through, with the
 * held locks, the live objects and the words at each step, the nearest schedule that passes, the
 * text form, and the recordings as JSON.
 */

import type { Recording } from "../replay/recording.ts";
import { comparisonOf } from "./comparison.ts";
import { ReportPage } from "./report-page.ts";
import type { ReportEntry, ReportView } from "./report-page.ts";
import { reportStyle } from "./report-style.ts";
import { timelineRows } from "./timeline-rows.ts";
import { renderTimeline } from "./timeline.ts";

/** One finding of a report, and the nearest schedule that passes, if there is one. */
export interface ReportedRun {
  /** The schedule that shows the finding. */
  readonly recording: Recording;
  /** The nearest schedule without it; undefined if none is known. */
  readonly passing?: Recording | undefined;
}

const TEXT_WIDTH = 110;

/** The HTML page. `runs` must not be empty. */
export function renderReport(runs: readonly ReportedRun[]): string {
  if (runs.length === 0)
    throw new RangeError("Cannot report: there is no recording; pass at least one");
  const entries = runs.map(({ recording, passing }): ReportEntry => {
    if (passing === undefined)
      return { failing: viewOf(recording), passing: undefined, beside: undefined };
    return {
      failing: viewOf(recording),
      passing: viewOf(passing),
      beside: comparisonOf(recording, passing),
    };
  });
  const texts = runs.map(({ recording, passing }, i) => {
    const text = renderTimeline(recording, {
      width: TEXT_WIDTH,
      ...(passing !== undefined && { passing }),
    });
    return `<pre id="text-${i}">${escaped(text)}</pre>`;
  });
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>${escaped(runs[0]?.recording.scenario ?? "")}</title>
<style>${reportStyle}</style>
${body}
<details><summary>The same as text</summary>${texts.join("\n")}</details>
<script type="application/json" id="recordings">${inScript(JSON.stringify(entries))}</script>
<script type="module">
${ReportPage.toString()}
const json = document.getElementById("recordings").textContent;
new ReportPage(document, JSON.parse(json)).start();
${exporting}
</script>
</html>
`;
}

/** The elements that the page's script fills. */
const body = `<header>
<select id="chooser" aria-label="Finding"></select>
<h1 id="headline"></h1>
<p id="summary"></p>
<ul id="sites"></ul>
<div id="stacks"></div>
<p id="effort"></p>
</header>
<nav aria-label="Steps">
<button id="first" aria-label="To the beginning">|◀</button>
<button id="back" aria-label="One step back">◀</button>
<button id="forward" aria-label="One step on">▶</button>
<button id="last" aria-label="To the end">▶|</button>
<input id="slider" type="range" min="0" max="0" step="1" aria-label="Step">
<output id="where" for="slider" aria-live="polite"></output>
<button id="failing" aria-pressed="true">fails</button>
<button id="passing" aria-pressed="false">nearest that passes</button>
<label><input id="all" type="checkbox"> all steps</label>
<a id="export" href="#" download="recordings.json">JSON</a>
</nav>
<main>
<div>
<div class="scroll"><div id="timeline" role="table" aria-label="Timeline: a column for each task, time goes down"></div></div>
<section id="beside"></section>
</div>
<aside aria-label="At this step">
<section><h2>This step</h2><div id="details"></div></section>
<section><h2>Tasks</h2><div id="tasks"></div></section>
<section id="state"><h2>State</h2><div id="tables"></div></section>
<section><h2>Words that change</h2><div id="words"></div></section>
</aside>
</main>
<p class="keys">Arrow keys step, Home and End jump, a click on a step goes there.</p>
<noscript>Stepping needs JavaScript; the text below does not.</noscript>`;

/**
 * The script of the link that saves the recordings. It takes them from the text of the page.
 */
const exporting = `const runs = JSON.parse(json).map(({ failing, passing }) => ({ recording: failing.recording, passing: passing?.recording }));
document.getElementById("export").href = URL.createObjectURL(new Blob([JSON.stringify(runs, undefined, 2)], { type: "application/json" }));`;

function viewOf(recording: Recording): ReportView {
  const whole: Recording = {
    ...recording,
    steps: recording.steps.map((step) => ({ ...step, isInPast: true })),
  };
  return { recording, rows: timelineRows(recording), allRows: timelineRows(whole) };
}

function escaped(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

/** Escapes what could end a script element. */
function inScript(json: string): string {
  return json.replaceAll("<", "\\u003c");
}
