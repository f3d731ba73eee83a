/**
 * @module `hmm merge`: combines the output of the parts of one run, each made with `--shard` and
 * `--json`.
 */

import type { Command } from "commander";

import { isJudgedRow } from "../check/check-row.ts";
import type { CheckPart } from "../check/check-part.ts";
import type { CommandContext } from "../command.ts";
import { UsageError } from "../exit-status.ts";
import type { FuzzPart } from "../fuzz/fuzz-part.ts";
import { readJsonFile } from "../named-files.ts";
import { quote } from "../option-values.ts";
import { PARTS_LIMIT } from "../shard.ts";
import { mergeCheck } from "./merge-check.ts";
import { mergeFuzz } from "./merge-fuzz.ts";

type Part = CheckPart | FuzzPart;

export function addMerge(parent: Command, context: CommandContext): void {
  parent
    .command("merge")
    .description(
      "add up the parts of one hmm check or hmm fuzz, each printed with --shard and --json",
    )
    .argument("<file...>", "what each part printed, all of them, in any order")
    .option("--json", "print what the whole would have printed with --json")
    .action((paths: string[], { json }: { readonly json?: true }) => {
      const parts = paths.map(readPart);
      requireWhole(parts, paths);
      const isCheck = (part: Part): part is CheckPart => part.part === "check";
      const isFuzz = (part: Part): part is FuzzPart => part.part === "fuzz";
      if (parts.every(isCheck)) mergeCheck(parts, json === true, context);
      else mergeFuzz(parts.filter(isFuzz), json === true, context);
    });
}

function readPart(path: string): Part {
  const broken = new UsageError(
    `Cannot merge ${quote(path)}: it is no part of a run; make it with \`hmm check --shard 1/2 --json\` or \`hmm fuzz\` likewise`,
  );
  const read = readJsonFile(path);
  if (!isPart(read)) throw broken;
  return read;
}

/** The fields that the merge uses. */
function isPart(value: unknown): value is Part {
  const read = fieldsOf(value);
  if (read["version"] !== 1 || typeof read["question"] !== "string") return false;
  const { part, of } = fieldsOf(read["shard"]);
  if (!isWhole(part) || !isWhole(of) || part < 1 || part > of || of > PARTS_LIMIT) return false;
  if (typeof read["seconds"] !== "number") return false;
  if (read["part"] === "check")
    return isList(read["scenarios"], isText) && isList(read["rows"], isJudgedRow);
  const { seed, programs, executions } = read;
  if (read["part"] !== "fuzz" || ![seed, programs, executions].every(isWhole)) return false;
  const { ran, missed } = fieldsOf(read["functions"]);
  if (!isList(ran, isText) || !isList(missed, isText)) return false;
  return isList(read["signals"], isText) && isList(read["findings"], isKeptFinding);
}

function isKeptFinding(value: unknown): boolean {
  const { kind, message, token, file, slice } = fieldsOf(value);
  return [kind, message, token, file].every(isText) && isWhole(slice);
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

function isList(value: unknown, isOne: (value: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(isOne);
}

function isText(value: unknown): boolean {
  return typeof value === "string";
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/** Throws UsageError unless these are all the parts of one run, each once. */
function requireWhole(parts: readonly Part[], paths: readonly string[]): void {
  const [first] = parts;
  if (first === undefined)
    throw new UsageError("Cannot merge nothing: name the files of the parts");
  const from = new Map<number, string>();
  for (const [i, part] of parts.entries()) {
    const path = paths[i] ?? "";
    if (
      part.part !== first.part ||
      part.question !== first.question ||
      part.shard.of !== first.shard.of
    ) {
      throw new UsageError(
        `Cannot merge ${quote(path)} with ${quote(paths[0] ?? "")}: they are of runs with other arguments or options`,
      );
    }
    const other = from.get(part.shard.part);
    if (other !== undefined) {
      throw new UsageError(
        `Cannot merge ${quote(path)}: ${quote(other)} is part ${part.shard.part} of ${part.shard.of}, too`,
      );
    }
    from.set(part.shard.part, path);
  }
  const missing = Array.from({ length: first.shard.of }, (_, i) => i + 1).filter(
    (part) => !from.has(part),
  );
  if (missing.length > 0) {
    throw new UsageError(
      `Cannot merge: of ${first.shard.of} parts there is no ${missing.join(", no ")}; name them all`,
    );
  }
}
