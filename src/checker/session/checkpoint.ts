/**
 * @module Checkpoints: an exploration can stop and go on later. A checkpoint is plain JSON with the
 * scenario, the engine, the options, what was seen so far, and what is left. It is made between two
 * executions, so it has no state of the scenario itself: the next execution repeats its beginning.
 *
 * A checkpoint is refused if it was changed, cut off or written by another version, if the options
 * are different, or if the scenario is. To check the scenario, its first execution is performed
 * again and compared.
 */

import type { Finding } from "../findings/finding.ts";
import type { Dependence } from "../steps/dependence.ts";
import { textDigest } from "./text-digest.ts";

const FORMAT = "hmm-checkpoint";
const VERSION = 3;

/**
 * A stopped exploration, from which it can go on: plain data, for JSON.stringify and
 * {@link parseCheckpoint}.
 */
export interface Checkpoint {
  /** Says what the object is. */
  readonly format: typeof FORMAT;
  /** The version of this format. */
  readonly version: number;
  /** The name of the scenario. */
  readonly scenario: string;
  /** The fingerprint of its first execution: see fingerprint.ts. */
  readonly fingerprint: string;
  /** The options of the exploration. */
  readonly options: RecordedOptions;
  /** What the search has learned about the scenario. */
  readonly dependence: Dependence;
  /** What was counted until it stopped. */
  readonly counts: Counts;
  /** What was found until it stopped. */
  readonly findings: readonly Finding[];
  /** The keys of the classes seen, if they are collected. */
  readonly keys: readonly number[] | undefined;
  /** Of these, the keys of the classes at whose end some task could not go on. */
  readonly stuckKeys: readonly number[] | undefined;
  /** The state of the engine. */
  readonly state: unknown;
  /** A digest of all other fields. */
  readonly digest: string;
}

/** Counts that are added up over the parts of an exploration. */
export interface Counts {
  readonly executions: number;
  readonly blocked: number;
  readonly stuck: number;
  readonly steps: number;
  readonly seconds: number;
}

/** The options that determine what is explored. JSON has no Infinity: it is written as a word. */
export type RecordedOptions = Readonly<Record<string, string | number | boolean>>;

/** The checkpoint cannot be used; the message says why. */
export class CheckpointError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CheckpointError";
  }
}

/** Makes a checkpoint of its content: adds format, version and digest. */
export function makeCheckpoint(
  content: Omit<Checkpoint, "format" | "version" | "digest">,
): Checkpoint {
  const text = JSON.stringify({ format: FORMAT, version: VERSION, ...content });
  // Through text: a copy, because the search may go on.
  return { ...(JSON.parse(text) as Omit<Checkpoint, "digest">), digest: textDigest(text) };
}

/** Reads what `JSON.stringify` wrote of a checkpoint. Throws {@link CheckpointError}. */
export function parseCheckpoint(text: string): Checkpoint {
  // A caller without type checks may pass the parsed value.
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

/** Checks a parsed checkpoint. Throws {@link CheckpointError}. */
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

/** Throws CheckpointError unless the checkpoint is of this scenario. */
export function requireSameScenario(checkpoint: Checkpoint, scenario: string): void {
  if (checkpoint.scenario === scenario) return;
  throw new CheckpointError(
    `Cannot go on with "${scenario}" from the checkpoint: it was made of "${checkpoint.scenario}"`,
  );
}

/** Throws CheckpointError if the scenario has changed. */
export function requireSameFingerprint(checkpoint: Checkpoint, fingerprint: string): void {
  if (checkpoint.fingerprint === fingerprint) return;
  throw new CheckpointError(
    `Cannot go on with "${checkpoint.scenario}" from the checkpoint: the scenario has changed; explore it from the beginning`,
  );
}
