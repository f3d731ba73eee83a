/**
 * @module Replays one schedule loudly. Searches are silent: nothing is written down while
 * exploring, everything is when the one schedule that matters runs again.
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

/** Of {@link recordRun}. The budget must be that which the schedule was found with. */
export interface RecordOptions extends ExploreOptions {
  /**
   * Which of several findings of the one schedule is told: the one of this identity. Default: what
   * the scenario expects, else the last.
   */
  readonly identity?: string;
}

/**
 * Replays the schedule of `token` and writes everything down. Throws SyntaxError for what is no
 * token, RangeError for the token of another scenario.
 */
export function recordRun<S>(
  scenario: Scenario<S>,
  token: string,
  options: RecordOptions = {},
): Recording {
  return recordSchedule(scenario, parseToken(token), options);
}

/**
 * As {@link recordRun}; with `lenient` and `finish` of its options also of schedules that are not
 * quite possible.
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
  const told = finding === undefined ? undefined : reportFinding(finding, parts);
  const token = formatToken(done);
  const replay = `${scenario.name}@${token}`;
  return {
    format: "hmm-recording-1",
    scenario: scenario.name,
    summary: scenario.summary ?? "",
    token,
    replay,
    command: `hmm replay ${quoted(replay)}`,
    finding: told,
    preemptions,
    length: done.length,
    ...parts,
    steps: told === undefined ? parts.steps : inPastOf(told.anchors, parts.steps),
  };
}

/** As a shell takes it. */
function quoted(word: string): string {
  return /^[\w@/.~#-]+$/.test(word) ? word : `'${word}'`;
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
  // The one that shows first; of those that show at once, the one that was told first.
  const candidates = expected.length > 0 ? expected : findings;
  return candidates.reduce<Finding | undefined>(
    (best, finding) => (best === undefined || isSmaller(finding, best) ? finding : best),
    undefined,
  );
}

/** Something did not happen, so all that did happen may be why. */
const isAboutTheEnd: ReadonlySet<string> = new Set(
  "assertion lost-wakeup leak refcount-leak livelock endless not-linearizable owner-died".split(
    " ",
  ),
);

type Parts = Pick<Recording, "tasks" | "steps" | "ends">;

function reportFinding(finding: Finding, parts: Parts): RecordedFinding {
  const { tasks, steps, ends } = parts;
  const { kind, message, sites, threads } = finding;
  const anchors = new Set<number>();
  for (const site of sites) {
    const task = tasks.indexOf(site.task);
    // A plain access follows its task's step before it; what is still waited for, the last one.
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
  const places = sites.map((site) => toldSite(site, parts));
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

/** Name and place of a site: those of its step, or of the wait that it is about. */
function toldSite(site: Site, { tasks, steps, ends }: Parts): Site {
  if (site.operation.startsWith("plain ")) return site;
  const task = tasks.indexOf(site.task);
  const step = steps[site.step];
  const told = step === undefined ? ends[task] : step.task === task ? step : undefined;
  if (told === undefined || told.kind !== site.operation) return site;
  const named = { ...site, label: told.label };
  return told.place === undefined ? named : { ...named, place: formatPlace(told.place) };
}

/**
 * Tasks that wait for each other in a ring, beginning with the first of them; empty if there is
 * none.
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

/** The tasks of which a step happens before or after one of these, over any number of others. */
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

/** Marks the steps that happen before an anchor, or are one. */
function inPastOf(anchors: readonly number[], steps: readonly RecordedStep[]): RecordedStep[] {
  const ordinals = new Map<number, number>();
  return steps.map((step) => {
    const ordinal = (ordinals.get(step.task) ?? 0) + 1;
    ordinals.set(step.task, ordinal);
    const isInPast = anchors.some((anchor) => (steps[anchor]?.clock[step.task] ?? 0) >= ordinal);
    return { ...step, isInPast };
  });
}
