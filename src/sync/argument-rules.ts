/**
 * @module Checks of what a program passes to a public function: options by name, and single
 * arguments. A table of rules says what each must be. All messages about bad arguments are made
 * here, in the form "<what was given>; give <what is wanted>".
 *
 * Options are read once, into a copy: a getter or another thread cannot change what was checked.
 * Not for single loads and stores, which must not make a call (mmu/address.ts).
 */

import { HmmError } from "./errors.ts";
import { nearNames } from "./near-names.ts";

/** Makes the error of an operation from its text, "<state>; <remedy>". */
export type Refuse = (text: string) => HmmError;

/** What an option or an argument must be. */
export interface ArgumentRule {
  /** Whether the value may be used. */
  readonly accepts: (value: unknown) => boolean;
  /** The end of the message, after "give". */
  readonly wanted: string;
  /** Whether undefined is refused, too, as an option. Default false. */
  readonly isRequired?: boolean;
}

/** A rule for each option: the compiler sees to it that none is missing. */
export type OptionRules<Options extends object> = {
  readonly [Name in keyof Required<Options>]: ArgumentRule;
};

/** A rule of its own: `wanted` follows "give" in the message. */
export function ruleOf(wanted: string, accepts: (value: unknown) => boolean): ArgumentRule {
  return { accepts, wanted };
}

/** The same rule for an option that may not be left out. */
export function required(rule: ArgumentRule): ArgumentRule {
  return { ...rule, isRequired: true };
}

/** A safe integer from `least` to `most`, both included, and a multiple of `step`. */
export function wholeNumber(
  least: number,
  most: number = Number.MAX_SAFE_INTEGER,
  step: number = 1,
): ArgumentRule {
  const multiple = step === 1 ? "" : `, a multiple of ${step}`;
  const upwards = least === 1 ? "above 0" : `from ${least} on`;
  const range = most === Number.MAX_SAFE_INTEGER ? upwards : `from ${least} to ${most}`;
  return ruleOf(`a whole number ${range}${multiple}`, (value) => {
    return Number.isSafeInteger(value) && isWithin(value as number, least, most, step);
  });
}

function isWithin(value: number, least: number, most: number, step: number): boolean {
  return value >= least && value <= most && value % step === 0;
}

/** Accepts true and false, and nothing that is only like them. */
export const aBoolean: ArgumentRule = ruleOf("true or false", (value) => {
  return typeof value === "boolean";
});

/** Accepts a string, also an empty one. */
export const aText: ArgumentRule = ruleOf("a string", (value) => typeof value === "string");

/** Anything that can be called. */
export const aFunction: ArgumentRule = ruleOf("a function", (value) => typeof value === "function");

/** Options in an option: their names and types are checked where they are taken. */
export const anObject: ArgumentRule = ruleOf("an object", (value) => {
  return typeof value === "object" && value !== null;
});

/** A Uint8Array, of whatever length. */
export const someBytes: ArgumentRule = ruleOf(
  "a Uint8Array",
  (value) => value instanceof Uint8Array,
);

/** One of a few words, such as `oneOf("read", "write")`. */
export function oneOf(...words: readonly string[]): ArgumentRule {
  const quoted = words.map((word) => JSON.stringify(word));
  const wanted = `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1) ?? ""}`;
  return ruleOf(wanted, (value) => words.includes(value as string));
}

/** Throws what `refuse` makes unless `value` is as the rule says. */
export function checkArgument(
  refuse: Refuse,
  name: string,
  value: unknown,
  rule: ArgumentRule,
): void {
  if (rule.accepts(value)) return;
  const hint = isPromise(value) ? " (await it first)" : "";
  throw refuse(`${name} is ${formatValue(value)}${hint}; give ${rule.wanted}`);
}

/**
 * The options that were given, in a copy. Throws what `refuse` makes for what is no object, for an
 * unknown name, for a value that breaks its rule, and for what cannot be read. `group`: the option
 * that these are the options in.
 */
export function takeOptions<Options extends object>(
  refuse: Refuse,
  options: unknown,
  rules: OptionRules<Options>,
  group?: string,
): Options {
  const name = group ?? "the options";
  const verb = group === undefined ? "are" : "is";
  if (!anObject.accepts(options)) {
    const hasRequired = Object.values<ArgumentRule>(rules).some((rule) => rule.isRequired);
    const remedy = hasRequired ? "give an object" : "give an object or nothing";
    throw refuse(`${name} ${verb} ${formatValue(options)}; ${remedy}`);
  }
  const known = entriesOf(rules);
  const values: unknown[] = [];
  try {
    for (const given of Object.keys(options as object))
      if (!Object.hasOwn(rules, given))
        throw unknownOption(refuse, given, Object.keys(rules), group);
    for (const [option] of known) values.push((options as Record<string, unknown>)[option]);
  } catch (error) {
    if (error instanceof HmmError) throw error;
    const unreadable = refuse(`${name} cannot be read (see cause); give a plain object`);
    unreadable.cause = error;
    throw unreadable;
  }
  const taken: Record<string, unknown> = {};
  for (const [i, value] of values.entries()) {
    const [option, rule] = known[i]!; // one for each value
    if (value === undefined && rule.isRequired !== true) continue;
    checkArgument(refuse, group === undefined ? option : `${group}.${option}`, value, rule);
    taken[option] = value;
  }
  return taken as Options;
}

type RuleEntries = readonly (readonly [option: string, rule: ArgumentRule])[];

/** The entries of each table: to make them anew took a third of the time of a small mmap. */
const entriesByRules = new WeakMap<object, RuleEntries>();

function entriesOf(rules: Readonly<Record<string, ArgumentRule>>): RuleEntries {
  let entries = entriesByRules.get(rules);
  if (entries === undefined) entriesByRules.set(rules, (entries = Object.entries(rules)));
  return entries;
}

function unknownOption(
  refuse: Refuse,
  given: string,
  known: readonly string[],
  group: string | undefined,
): HmmError {
  const [nearest] = known.length === 1 ? known : nearNames(given, known);
  const place = group === undefined ? "" : ` in ${group}`;
  const remedy = nearest === undefined ? `give one of ${known.join(", ")}` : `give ${nearest}`;
  return refuse(`there is no option ${formatValue(given)}${place}; ${remedy}`);
}

function isPromise(value: unknown): boolean {
  return value instanceof Promise;
}

/**
 * A value of the user's for a message. It may be anything, even what cannot be converted to a
 * string.
 */
export function formatValue(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 100));
  if (typeof value === "bigint") return `${value}n`;
  if (isPromise(value)) return "a promise";
  return typeof value === "object" && value !== null
    ? "an object"
    : typeof value === "function"
      ? "a function"
      : String(value);
}
