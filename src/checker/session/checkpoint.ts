/**
 * @module Stopping an exploration and going on another day: a checkpoint is plain JSON that says of
 * which scenario it is, under which engine and options, what was seen so far, and what is left. It
 * is made between two executions, so nothing of the scenario's own state is in it: going on repeats
 * the beginning of the next execution.
 *
 * It is refused when it was changed, cut off or written by another version, when the options are
 * others, and when the scenario is not the one that it was made of: its first execution is
 * performed again and compared.
 */

import type { Finding } from "../findings/finding.ts";
import type { Dependence } from "../steps/dependence.ts";
import { textDigest } from "./text-digest.ts";

const FORMAT = "hmm-checkpoint";
const VERSION = 2;

/**
 * A stopped exploration, from which it can go on: plain data, for JSON.stringify and
 * {@link parseCheckpoint}.
 */
export interface Checkpoint {
  readonly format: typeof FORMAT;
  readonly version: number;
  readonly scenario: string;
  /** Of its first execution: see fingerprint.ts. */
  readonly fingerprint: string;
  readonly options: RecordedOptions;
  /** What the search has found out about the scenario. */
  readonly dependence: Dependence;
  readonly counts: Counts;
  readonly findings: readonly Finding[];
  /** Of the classes seen, if they are collected. */
  readonly keys: readonly number[] | undefined;
  readonly stuckKeys: readonly number[] | undefined;
  /** The engine's own. */
  readonly state: unknown;
  /** Over all the rest. */
  readonly digest: string;
}

/** What adds up over the parts of an exploration. */
export interface Counts {
  readonly executions: number;
  readonly blocked: number;
  readonly stuck: number;
  readonly steps: number;
  readonly seconds: number;
}

/** Those on which it depends what is explored. JSON knows no Infinity, so that is a word. */
export type RecordedOptions = Readonly<Record<string, string | number | boolean>>;

/** The checkpoint cannot be used; the message says why. */
export class CheckpointError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CheckpointError";
  }
}

/** Seals what a session has to say. */
export function makeCheckpoint(
  content: Omit<Checkpoint, "format" | "version" | "digest">,
): Checkpoint {
  const text = JSON.stringify({ format: FORMAT, version: VERSION, ...content });
  // Through text, so that nothing of it is shared with a search that goes on.
  return { ...(JSON.parse(text) as Omit<Checkpoint, "digest">), digest: textDigest(text) };
}

/** Reads what `JSON.stringify` wrote of a checkpoint. Throws {@link CheckpointError}. */
export function parseCheckpoint(text: string): Checkpoint {
  // Who has read the file as JSON already holds the value itself, whatever the types say.
  const given: unknown = text;
  if (typeof given !== "string") {
    throw new CheckpointError(
      `Cannot read the checkpoint: it is ${nameOf(given)} and no text; give parseCheckpoint what JSON.stringify wrote, or give a checkpoint itself to resumeFrom`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(given);
  } catch {
    throw new CheckpointError("Cannot read the checkpoint: it is not JSON, or was cut off");
  }
  return validCheckpoint(value);
}

function nameOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (value instanceof Uint8Array) return "a buffer (read the file as text)";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** The same of a value. */
export function validCheckpoint(value: unknown): Checkpoint {
  if (
    typeof value !== "object" ||
    value === null ||
    !("format" in value) ||
    value.format !== FORMAT
  ) {
    throw new CheckpointError(
      "Cannot use the checkpoint: it is none; use what a stopped exploration has written",
    );
  }
  const { digest, ...content } = value as Checkpoint;
  if (content.version !== VERSION) {
    throw new CheckpointError(
      `Cannot use the checkpoint: it has version ${String(content.version)}, this is ${VERSION}; explore from the beginning`,
    );
  }
  if (digest !== textDigest(JSON.stringify(content))) {
    throw new CheckpointError("Cannot use the checkpoint: it was changed since it was written");
  }
  return { ...content, digest };
}

/** Throws CheckpointError unless it was made of this scenario. */
export function requireSameScenario(checkpoint: Checkpoint, scenario: string): void {
  if (checkpoint.scenario === scenario) return;
  throw new CheckpointError(
    `Cannot go on with "${scenario}" from the checkpoint: it was made of "${checkpoint.scenario}"`,
  );
}

/** Throws CheckpointError unless the scenario is as it was. */
export function requireSameFingerprint(checkpoint: Checkpoint, fingerprint: string): void {
  if (checkpoint.fingerprint === fingerprint) return;
  throw new CheckpointError(
    `Cannot go on with "${checkpoint.scenario}" from the checkpoint: the scenario has changed; explore it from the beginning`,
  );
}
