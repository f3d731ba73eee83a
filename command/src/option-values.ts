/**
 * @module Reads the values of options. Each reader returns the value, or throws a UsageError that
 * says what is possible.
 */

import { UsageError } from "./exit-status.ts";
import { formatBytes } from "./quantities.ts";

/** Reads an option's text. */
export type Reader<T> = (text: string) => T;

const BYTES_PER_UNIT = new Map([
  ["", 1],
  ["b", 1],
  ["kib", 2 ** 10],
  ["mib", 2 ** 20],
  ["gib", 2 ** 30],
]);

/** An integer from `least` to `greatest`, both included. Digits may be grouped by `_`. */
export function wholeNumber(option: string, least: number, greatest: number): Reader<number> {
  return (text) => {
    const value = /^\d+(_\d+)*$/.test(text) ? Number(text.replaceAll("_", "")) : Number.NaN;
    if (value >= least && value <= greatest) return value;
    throw new UsageError(
      `Cannot use ${quote(text)} as ${option}: must be a whole number from ${least} to ${greatest}`,
    );
  };
}

/** A time in seconds, more than 0, such as `10` or `0.5`. */
export function seconds(option: string, greatest: number): Reader<number> {
  return (text) => {
    const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
    if (value > 0 && value <= greatest) return value;
    throw new UsageError(
      `Cannot use ${quote(text)} as ${option}: must be seconds, more than 0 and at most ${greatest}`,
    );
  };
}

/** A size such as `2MiB`, `512 KiB` or `4096` bytes, from `least` to `greatest` bytes. */
export function sizeBytes(option: string, least: number, greatest: number): Reader<number> {
  return (text) => {
    const match = /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(text);
    const unit = BYTES_PER_UNIT.get(match?.[2]?.toLowerCase() ?? "");
    const value = match === null || unit === undefined ? Number.NaN : Number(match[1]) * unit;
    if (Number.isInteger(value) && value >= least && value <= greatest) return value;
    throw new UsageError(
      `Cannot use ${quote(text)} as ${option}: must be a size such as 2MiB, 512KiB or 1048576, ` +
        `from ${formatBytes(least)} to ${formatBytes(greatest)}`,
    );
  };
}

/** One of a few words. */
export function oneOf<const T extends string>(option: string, words: readonly T[]): Reader<T> {
  return (text) => {
    const found = words.find((word) => word === text);
    if (found !== undefined) return found;
    throw new UsageError(`Cannot use ${quote(text)} as ${option}: must be ${words.join(" or ")}`);
  };
}

/** In quotes, cut, and without control characters, for a terminal. */
export function quote(text: string): string {
  const printable = text.replaceAll(/\p{C}/gu, "?");
  return `'${printable.length > 40 ? `${printable.slice(0, 40)}…` : printable}'`;
}
