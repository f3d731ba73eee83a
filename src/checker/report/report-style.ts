/**
 * @module The style sheet of a report. It is light or dark as the reader's system prefers, and
 * loads nothing.
 */

export const reportStyle: string = `
:root { color-scheme: light dark;
  --ink: light-dark(#1c2024, #e6e6e3); --dim: light-dark(#6a7178, #969ba1); --paper: light-dark(#fbfaf8, #16181b);
  --card: light-dark(#fff, #1e2125); --line: light-dark(#dcdad4, #34383d); --mark: light-dark(#fff3cf, #3a341d);
  --bad: light-dark(#b3261e, #ff8a80); --bad-paper: light-dark(#fdecea, #3b1f1e); --good: light-dark(#1d6b37, #7fd39a);
  --exclusive: light-dark(#c77700, #f2b04a); --shared: light-dark(#2b7a4b, #6cc98c); --srcu: light-dark(#17789a, #6bc4e3);
  --life: light-dark(#8a3ea8, #cf93e6); }
* { box-sizing: border-box; }
body { margin: 0; padding: 1.25rem clamp(0.75rem, 3vw, 2.5rem) 3rem; color: var(--ink); background: var(--paper);
  font: 15px/1.5 system-ui, "Segoe UI", sans-serif; }
code, #timeline, td, pre { font-family: ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", monospace; font-size: 13px; }
header { display: grid; gap: 0.35rem; margin-bottom: 1rem; }
h1 { margin: 0; font-size: 1.25rem; line-height: 1.35; overflow-wrap: anywhere; }
h2 { margin: 0 0 0.4rem; font-size: 0.95rem; } h3 { margin: 0.6rem 0 0.2rem; font-size: 0.85rem; color: var(--dim); }
p { margin: 0.2rem 0; } #summary:empty { display: none; } #effort, #summary { color: var(--dim); }
.kind { padding: 0.1rem 0.5rem; border-radius: 0.4rem; color: var(--bad); background: var(--bad-paper); }
.kind.good { color: var(--good); background: color-mix(in srgb, var(--good) 14%, transparent); }
#sites { margin: 0; padding-left: 1.1rem; } #sites code { color: var(--dim); }
select, button, #export { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line);
  border-radius: 0.4rem; padding: 0.25rem 0.7rem; text-decoration: none; cursor: pointer; max-width: 100%; }
button:disabled { opacity: 0.4; cursor: default; } button[aria-pressed="true"] { border-color: currentColor; font-weight: 600; }
:focus-visible { outline: 2px solid var(--srcu); outline-offset: 2px; }
nav { position: sticky; top: 0; z-index: 2; display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem; padding: 0.6rem 0;
  background: var(--paper); border-bottom: 1px solid var(--line); }
#slider { flex: 1 1 12rem; accent-color: var(--srcu); } #where { min-width: 8.5rem; font-variant-numeric: tabular-nums; }
main { display: grid; grid-template-columns: minmax(0, 1fr) minmax(17rem, 26rem); gap: 1.25rem; margin-top: 1rem; align-items: start; }
@media (max-width: 60rem) { main { grid-template-columns: minmax(0, 1fr); } }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 0.6rem; background: var(--card); }
#timeline { position: relative; display: grid; padding: 0.5rem 0; }
.row { scroll-margin: 5rem 0 2rem; display: grid; grid-column: 1 / -1; grid-template-columns: subgrid; align-items: stretch; }
.row > div { padding: 0.14rem 0.3rem; } .row .text { padding-right: 1.2rem; }
.row.step { cursor: pointer; } .row.step:hover { background: color-mix(in srgb, var(--srcu) 10%, transparent); }
.row.head > div { font-weight: 600; padding-bottom: 0.4rem; border-bottom: 1px solid var(--line); }
.lives-head { font-weight: 400 !important; color: var(--life); font-size: 11px; max-width: 10rem; overflow: hidden; text-overflow: ellipsis; }
.row.fold .text { width: 0; min-width: 100%; overflow: visible; white-space: nowrap; }
.row.note .text, .row.fold .text { color: var(--dim); font-style: italic; }
.row.bad .text { color: var(--bad); font-style: normal; font-weight: 600; } .row.bad .text .said::before { content: "✗ "; }
.row[data-when="later"] { opacity: 0.42; } .row[aria-current] { background: var(--mark) !important; }
.number { text-align: right; color: var(--dim); min-width: 2.6rem; }
.row > .bars, .row > .lives { display: flex; gap: 3px; padding: 0 0.1rem 0 0.5rem; justify-content: end; } .row > .lives { justify-content: start; }
.bar, .life { position: relative; width: 6px; }
.bar:not(.none)::before, .life::before { content: ""; position: absolute; inset: 0 1px; background: var(--exclusive); }
.bar.shared::before { background: var(--shared) !important; }
.bar.srcu::before { background: repeating-linear-gradient(var(--srcu) 0 3px, transparent 3px 5px) !important; }
.bar.start::before { top: 35% !important; border-radius: 3px 3px 0 0; } .bar.end::before { bottom: 35% !important; border-radius: 0 0 3px 3px; }
.life::before { background: var(--life); inset: 0 2px; } .life.none::before { display: none; }
.life.alloc::before { top: 45%; } .life.free::before { bottom: 45%; } .life.alloc::after, .life.free::after { content: ""; position: absolute;
  left: -1px; right: -1px; top: calc(50% - 1px); height: 2px; background: var(--life); }
.life.gone::before { background: repeating-linear-gradient(var(--dim) 0 2px, transparent 2px 6px); }
.life.bad::before { content: "✗"; background: none; color: var(--bad); inset: 0 -3px; text-align: center; font-weight: 700; }
#arrows { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none; overflow: visible; }
.edge { fill: none; stroke: var(--dim); stroke-width: 1.2; opacity: 0.35; } .edge.current { opacity: 1; stroke: var(--srcu); stroke-width: 2; }
.edge.race { stroke: var(--bad); stroke-width: 2; stroke-dasharray: 5 4; opacity: 0.9; }
#beside { margin-top: 1.25rem; } #beside table { border: 1px solid var(--line); border-radius: 0.6rem; border-collapse: separate; border-spacing: 0; background: var(--card); }
#beside td, #beside th { padding: 0.14rem 0.8rem; width: 50%; white-space: normal; } #beside th { padding-top: 0.5rem; } #beside tr.parts td { background: var(--mark); font-weight: 600; }
#beside td + td, #beside th + th { border-left: 1px solid var(--line); } #beside .bad { color: var(--bad); } #beside .good { color: var(--good); }
#beside small { color: var(--dim); } #stacks details { margin: 0.3rem 0 0; color: var(--dim); }
aside { display: grid; gap: 1rem; position: sticky; top: 4.2rem; max-height: calc(100vh - 5rem); overflow-y: auto; }
@media (max-width: 60rem) { aside { position: static; max-height: none; } } aside section { border: 1px solid var(--line); border-radius: 0.6rem; background: var(--card); padding: 0.7rem 0.9rem; min-width: 0; overflow-x: auto; }
.what { font-weight: 500; } .stack { margin: 0.3rem 0 0; padding-left: 1.4rem; color: var(--dim); font-size: 13px; max-height: 11rem; overflow: auto; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-size: 12px; color: var(--dim); font-weight: 500; padding: 0 0.6rem 0.2rem 0; }
td { padding: 0.12rem 0.6rem 0.12rem 0; vertical-align: top; overflow-wrap: break-word; } td:first-child { white-space: nowrap; } tr.changed td { background: var(--mark); }
tr.waiting td:nth-child(2), tr.threw td:nth-child(2) { color: var(--bad); } tr.over td { color: var(--dim); }
#words { max-height: 22rem; overflow: auto; }
details { margin-top: 1.5rem; } pre { overflow-x: auto; padding: 0.8rem 1rem; border: 1px solid var(--line); border-radius: 0.6rem; background: var(--card); line-height: 1.35; }
.keys { color: var(--dim); font-size: 13px; }
`;
