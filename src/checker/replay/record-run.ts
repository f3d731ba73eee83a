/**
 * @module Replays one schedule and records everything. A search records nothing.
 */

import { watchDescriptions } from "../../sync/tasks/task.ts";
import { explore } from "../explore.ts";
import type { ExploreOptions } from "../explore.ts";
import { findingIdentity, isSmaller } from "../findings/finding.ts";
import type { Finding, Site } from "../findings/finding.ts";
import { formatToken, parseToken } from "../findings/token.ts";
import type { Scenario } from "../scenario.ts";
import { formatPlace, markPlace } from "../steps/source-places.ts";
import type { Transition } from "../steps/trace.ts";
import { Recorder } from "./recorder.ts";
import type { RecordedFinding, RecordedStep, Recording, TaskState } from "./recording.ts";
import { shellWord } from "./shell-word.ts";

/** Options of {@link recordRun}. The budget must be that of the exploration. */
export interface RecordOptions extends ExploreOptions {
  /**
   * If the schedule has several findings: the identity of the one to record. Default: the expected
   * kind, otherwise the first.
   */
  readonly identity?: string;
}

/**
 * Replays the schedule of `token` and records everything. Throws SyntaxError if it is no token, and
 * RangeError if it is the token of another scenario.
 */
export function recordRun<S>(
  scenario: Scenario<S>,
  token: string,
  options: RecordOptions = {},
): Recording {
  return recordSchedule(scenario, parseToken(token), options);
}

/**
 * As {@link recordRun}, for a schedule. With the options `lenient` and `finish` some of its steps
 * may be impossible.
 */
export function recordSchedule<S>(
  scenario: Scenario<S>,
  schedule: readonly Transition[],
  options: RecordOptions,
): Recording {
  const recorder = new Recorder();
  const done: Transition[] = [];
  let preemptions = 0;
  watchDescriptions((wait) => recorder.mark(wait, markPlace()));
  let findings: readonly Finding[];
  try {
    findings = explore(scenario, {
      ...options,
      engine: "replay",
      schedule,
      withSites: true,
      observer: {
        began: (run) => {
          done.length = 0;
          recorder.began(run);
        },
        stepped: (run) => {
          done.push(run.trace.transition[run.depth - 1]!);
          ({ preemptions } = run);
          recorder.stepped(run);
        },
      },
    }).findings;
  } finally {
    watchDescriptions(undefined);
  }
  const finding = chosen(scenario, findings, options.identity);
  const parts = recorder.finish(finding?.sites ?? []);
  const recorded = finding === undefined ? undefined : recordedFinding(finding, parts);
  const token = formatToken(done);
  const replay = `${scenario.name}@${token}`;
  return {
    format: "hmm-recording-1",
    scenario: scenario.name,
    summary: scenario.summary ?? "",
    token,
    replay,
    command: `hmm replay ${shellWord(replay)}`,
    finding: recorded,
    preemptions,
    length: done.length,
    ...parts,
    steps: recorded === undefined ? parts.steps : inPastOf(recorded.anchors, parts.steps),
  };
}

function chosen(
  scenario: Pick<Scenario<never>, "expects">,
  findings: readonly Finding[],
  identity: string | undefined,
): Finding | undefined {
  if (identity !== undefined) {
    const same = findings.find((finding) => findingIdentity(finding) === identity);
    if (same !== undefined) return same;
  }
  const expected = findings.filter(({ kind }) => kind === scenario.expects);
  // The one that shows first; if several do, the one that was reported first.
  const candidates = expected.length > 0 ? expected : findings;
  return candidates.reduce<Finding | undefined>(
    (best, finding) => (best === undefined || isSmaller(finding, best) ? finding : best),
    undefined,
  );
}

/** Findings about something that did not happen: every step may be the cause. */
const isAboutTheEnd: ReadonlySet<string> = new Set(
  "assertion lost-wakeup leak refcount-leak livelock endless not-linearizable owner-died".split(
    " ",
  ),
);

type Parts = Pick<Recording, "tasks" | "steps" | "ends">;

function recordedFinding(finding: Finding, parts: Parts): RecordedFinding {
  const { tasks, steps, ends } = parts;
  const { kind, message, sites, threads } = finding;
  const anchors = new Set<number>();
  for (const site of sites) {
    const task = tasks.indexOf(site.task);
    // A plain access belongs to its task's step before it; a blocked operation to the last one.
    const isPlain = site.operation.startsWith("plain ");
    const end = isPlain ? site.step : site.step + 1;
    const step = steps.findLastIndex((other, i) => i < end && other.task === task);
    if (step >= 0) anchors.add(step);
  }
  const cycle = kind === "deadlock" ? cycleOf(ends) : [];
  for (const [task, end] of ends.entries()) {
    if (end.state === "waiting" && kind === "deadlock")
      anchors.add(steps.findLastIndex((step) => step.task === task));
  }
  if (isAboutTheEnd.has(kind) || anchors.size === 0) {
    const about =
      sites.length === 0 ? [...tasks.keys()] : sites.map(({ task }) => tasks.indexOf(task));
    for (const task of connectedTo(about, steps))
      anchors.add(steps.findLastIndex((step) => step.task === task));
    anchors.delete(-1);
  }
  const places = sites.map((site) => recordedSite(site, parts));
  const stacks = finding.stacks ?? [];
  return {
    kind,
    message,
    sites: places,
    threads,
    stacks,
    anchors: [...anchors].toSorted((a, b) => a - b),
    cycle,
  };
}

/** The name and the place of a site: those of its step, or of its blocked operation. */
function recordedSite(site: Site, { tasks, steps, ends }: Parts): Site {
  if (site.operation.startsWith("plain ")) return site;
  const task = tasks.indexOf(site.task);
  const step = steps[site.step];
  const recorded = step === undefined ? ends[task] : step.task === task ? step : undefined;
  if (recorded === undefined || recorded.kind !== site.operation) return site;
  const named = { ...site, label: recorded.label };
  return recorded.place === undefined ? named : { ...named, place: formatPlace(recorded.place) };
}

/**
 * A cycle of tasks that wait for each other; empty if there is none.
 */
function cycleOf(ends: readonly TaskState[]): number[] {
  for (const start of ends.keys()) {
    const path = [start];
    for (let next = ends[start]?.holders[0]; next !== undefined; next = ends[next]?.holders[0]) {
      if (next === start) return path;
      if (path.includes(next)) break;
      path.push(next);
    }
  }
  return [];
}

/** The tasks that are connected with these by happens-before, possibly through other tasks. */
function connectedTo(tasks: readonly number[], steps: readonly RecordedStep[]): number[] {
  const connected = new Set(tasks);
  for (let before = -1; before !== connected.size;) {
    before = connected.size;
    for (const { task, clock } of steps) {
      const others = [...clock.keys()].filter((other) => (clock[other] ?? 0) > 0);
      if (!connected.has(task) && !others.some((other) => connected.has(other))) continue;
      connected.add(task);
      for (const other of others) connected.add(other);
    }
  }
  return [...connected];
}

/** Marks the anchors and the steps that happen before one. */
function inPastOf(anchors: readonly number[], steps: readonly RecordedStep[]): RecordedStep[] {
  const ordinals = new Map<number, number>();
  return steps.map((step) => {
    const ordinal = (ordinals.get(step.task) ?? 0) + 1;
    ordinals.set(step.task, ordinal);
    const isInPast = anchors.some((anchor) => (steps[anchor]?.clock[step.task] ?? 0) >= ordinal);
    return { ...step, isInPast };
  });
}
