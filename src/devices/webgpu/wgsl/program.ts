/**
 * @module devices/webgpu/wgsl/program
 * Makes of a user's WGSL the text that is compiled. The user's text stays line for line: the
 * attributes of its entry point are blanked with spaces, fuel is put behind the braces of its
 * loops, calls that a special form of the library serves get a number behind their name, and the
 * library and the real entry point come after it (WGSL knows no order of declarations). So barriers
 * stay legal, and what the compiler says of a place in the text is true of the user's file
 * (diagnostics.ts takes what was inserted out of the columns).
 *
 * Fuel: each invocation counts the rounds of its loops (fuel.ts), and leaves when it has used up
 * what the pass gave it; the pass is undone then.
 */

import { libraryText } from "./library.ts";
import type { SpecialForm } from "./library-options.ts";
import { ARGUMENTS_MAX, type PoolShape, type TableLayout } from "./layout.ts";
import { isLibraryName } from "./names.ts";
import { type BoundVariable, boundVariables } from "./bindings.ts";
import { MEETING, type TextInsertion, fuelOf } from "./fuel.ts";
import { takeImports } from "./imports.ts";
import { type ProgramError, type UserText, WgslError, placeOf } from "./diagnostics.ts";
import {
  type Field,
  type Token,
  type WgslFunction,
  type WgslText,
  closingOf,
  scanWgsl,
  tokensOf,
  unclosedComment,
  unclosedToken,
} from "./scan.ts";

/** What is compiled, and what its places mean. */
export interface Program extends UserText {
  /** By kind of pass: a fast one notes only that something missed, a recording one says what. */
  readonly text: (isRecording: boolean, table: TableLayout, pool: PoolShape) => string;
  readonly usesAtomics: boolean;
  /** It was declared pure, and its invocations share nothing: a pass that missed needs no undo. */
  readonly isPure: boolean;
  /** Variables of the user's own that a dispatch binds. */
  readonly variables: readonly BoundVariable[];
  /** Place of the entry point: of what is wrong with all of the kernel. */
  readonly entry: { readonly line: number; readonly column: number };
}

/** Throws WgslError. */
export function makeProgram(
  given: string,
  entryPoint: string,
  isDeclaredPure: boolean = false,
): Program {
  refuseUnread(given);
  const code = takeImports(given);
  const wgsl = scanWgsl(code);
  refuseUnclosed(wgsl);
  refuseNames(wgsl);
  const entry = wgsl.functions.find(
    ({ name, attributes }) => name === entryPoint && attributes.some((a) => a.name === "compute"),
  );
  if (entry === undefined) throw new WgslError([noEntry(wgsl, entryPoint)]);
  const variables = boundVariables(wgsl);
  const wrapper = wrapperOf(wgsl, entry);
  const usesAtomics = wgsl.tokens.some(({ text }) => text.startsWith("atomic_"));
  if (isDeclaredPure) refuseAtomics(wgsl);
  const isPure = isDeclaredPure && !sharesWords(wgsl);
  const items = itemsOf(wgsl);
  const specials = specialsOf(wgsl, items);
  const byName = new Map(specials.map(({ form }) => [`${form.name} ${form.number}`, form]));
  const specialForms = [...byName.values()];
  const usesItems = items.size > 0;
  const insertions = [...fuelOf(wgsl), ...specials, ...items.values()].toSorted(
    (a, b) => a.at - b.at,
  );
  const user = insert(blank(code, entry), insertions);
  return {
    text: (isRecording, table, pool) => {
      const isGated = isPure;
      const forms = { specialForms, usesItems };
      const options = { isRecording, usesAtomics, isGated, ...forms, table, pool };
      const library = libraryText(options);
      return `${user}\n${library}\n${wrapper}`;
    },
    userLines: code.split("\n").length,
    insertions: insertions.map(({ at, text }) => ({ ...placeOf(code, at), length: text.length })),
    usesAtomics,
    isPure,
    variables,
    entry: placeOf(code, entry.at),
  };
}

/** What an atomic operation stores, it has loaded: no kernel with one is pure. */
function refuseAtomics({ text, tokens }: WgslText): void {
  const atomic = tokens.find((token) => token.text.startsWith("atomic_"));
  if (atomic === undefined) return;
  const message = `a pure kernel loads nothing that it stores: it cannot use ${atomic.text}`;
  throw new WgslError([{ ...placeOf(text, atomic.at), message }]);
}

/** Whether what one invocation has missed may reach another one without its noticing. */
function sharesWords({ tokens, variables }: WgslText): boolean {
  return (
    variables.some(({ space }) => space[0] === "workgroup" || space[1] === "read_write") ||
    tokens.some(({ text }) => MEETING.test(text))
  );
}

function noEntry({ functions }: WgslText, entryPoint: string): ProgramError {
  const entries = functions.filter(({ attributes }) =>
    attributes.some((a) => a.name === "compute"),
  );
  const names = entries.map(({ name }) => name).join(", ");
  const there = names === "" ? "the text has none" : `the text has ${names}`;
  const message = `no @compute entry point is called "${entryPoint}": ${there}`;
  return { line: 1, column: 1, message };
}

/** What hides the text behind it, so that anything there could be blamed. */
function refuseUnread(text: string): void {
  const comment = unclosedComment(text);
  if (comment !== undefined)
    throw new WgslError([{ ...placeOf(text, comment), message: 'this "/*" is not closed' }]);
  const quote = tokensOf(text).find((token) => QUOTES.has(token.text));
  if (quote === undefined) return;
  const message = `${quote.text} begins nothing here: WGSL has no text in quotes`;
  throw new WgslError([{ ...placeOf(text, quote.at), message }]);
}

const QUOTES: ReadonlySet<string> = new Set(['"', "'", "`"]);

/** The compiler would miss what closes it behind the library. */
function refuseUnclosed(wgsl: WgslText): void {
  const token = unclosedToken(wgsl);
  if (token === undefined) return;
  const message = `this "${token.text}" is not closed`;
  throw new WgslError([{ ...placeOf(wgsl.text, token.at), message }]);
}

function refuseNames({ text, declared }: WgslText): void {
  const errors: ProgramError[] = [];
  for (const [name, token] of declared) {
    if (!isLibraryName(name)) continue;
    const message = `"${name}" is a name of the hmm-ts library; choose another`;
    errors.push({ ...placeOf(text, token.at), message });
  }
  if (errors.length > 0) throw new WgslError(errors);
}

/** The entry point is an ordinary function: those may not have such attributes. */
function blank(code: string, { attributes, parameters }: WgslFunction): string {
  const blanked = [
    ...attributes.filter(({ name }) => name === "compute" || name === "workgroup_size"),
    ...parameters.flatMap((parameter) => parameter.attributes.filter((a) => a.name === "builtin")),
  ];
  let text = code;
  for (const { at, end } of blanked)
    text = text.slice(0, at) + text.slice(at, end).replace(/[^\n]/gu, " ") + text.slice(end);
  return text;
}

function insert(code: string, insertions: readonly TextInsertion[]): string {
  let text = "";
  let done = 0;
  for (const insertion of insertions) {
    text += code.slice(done, insertion.at) + insertion.text;
    done = insertion.at;
  }
  return text + code.slice(done);
}

/** A call that a special form of the library can serve. */
interface Special extends TextInsertion {
  readonly form: SpecialForm;
}

/**
 * `load_u32(ptr_at(p, i, 4u))` becomes `load_u32_item(ptr_at_item(p, i, 4u))`. By the index of the
 * token that they stand behind.
 */
function itemsOf({ tokens }: WgslText): Map<number, TextInsertion> {
  const items = new Map<number, TextInsertion>();
  for (const [i, { text: name, end }] of tokens.entries()) {
    const inner = tokens[i + 2];
    const isLoad = /^load_(?:u32|i32|f32)$/u.test(name) && tokens[i + 1]?.text === "(";
    if (!isLoad || inner?.text !== "ptr_at" || tokens[i + 3]?.text !== "(") continue;
    const close = closingOf(tokens, i + 3);
    const isAll = close + 1 === closingOf(tokens, i + 1);
    if (!isAll || lastNumberOf(tokens, i + 3) !== 4) continue;
    items.set(i, { at: end, text: "_item" });
    items.set(i + 2, { at: inner.end, text: "_item" });
  }
  return items;
}

/** `ptr_at(p, i, 4u)` becomes `ptr_at_2(p, i, 4u)`, and `arg_ptr(3)` `arg_ptr_3(3)`. */
function specialsOf({ text, tokens }: WgslText, items: ReadonlyMap<number, unknown>): Special[] {
  const specials: Special[] = [];
  for (const [i, { text: name, at, end }] of tokens.entries()) {
    if (tokens[i + 1]?.text !== "(" || items.has(i)) continue;
    const isElement = name === "ptr_at";
    if (!isElement && !/^arg_(?:u32|i32|f32|ptr)$/u.test(name)) continue;
    const last = lastNumberOf(tokens, i + 1);
    const number = isElement ? Math.log2(last) : last;
    if (!isElement && number >= ARGUMENTS_MAX) {
      const message = `a dispatch has ${ARGUMENTS_MAX} arguments at most, from 0 on: there is no ${number}`;
      throw new WgslError([{ ...placeOf(text, at), message }]);
    }
    const isServed = isElement ? number > 0 && number < 16 : true;
    if (Number.isInteger(number) && isServed)
      specials.push({ at: end, text: `_${number}`, form: { name, number } });
  }
  return specials;
}

/** The last argument of a call whose bracket is token `open`, if it is a number alone; else NaN. */
function lastNumberOf(tokens: readonly Token[], open: number): number {
  let depth = 0;
  for (let i = open; i < tokens.length; i++) {
    const { text } = tokens[i] ?? { text: "" };
    if ("([{".includes(text)) depth++;
    if (")]}".includes(text) && --depth === 0) {
      const at = tokens[i - 1]?.text === "," ? i - 2 : i - 1;
      const number = tokens[at]?.text ?? "";
      const isAlone = tokens[at - 1]?.text === "," || at - 1 === open;
      return isAlone && /^\d+u?$/u.test(number) ? Number.parseInt(number, 10) : Number.NaN;
    }
  }
  return Number.NaN;
}

/** Of the built-in values, those that a chunk of a dispatch changes. */
const SHIFTED: ReadonlyMap<string, string> = new Map([
  ["workgroup_id", "hmm_wid"],
  ["global_invocation_id", "(hmm_wid * hmm_size + hmm_lid)"],
  ["local_invocation_id", "hmm_lid"],
  ["local_invocation_index", "hmm_index"],
  ["num_workgroups", "hmm_u.groups"],
]);

/** Types of built-in values that are handed on as they are. */
const HANDED_ON: ReadonlyMap<string, string> = new Map([
  ["subgroup_invocation_id", "u32"],
  ["subgroup_size", "u32"],
  ["subgroup_id", "u32"],
  ["num_subgroups", "u32"],
]);

/** The real entry point: it shifts the ids by the chunk's first workgroup, and calls the user's. */
function wrapperOf(wgsl: WgslText, entry: WgslFunction): string {
  const extra = new Set<string>();
  const values = entry.parameters.map((parameter) => valueOf(wgsl, entry, parameter, extra));
  const size = entry.attributes.find(({ name }) => name === "workgroup_size")?.arguments ?? "1";
  const sizes = splitArguments(size);
  const extras = [...extra].map(
    (name) => `, @builtin(${name}) hmm_${name}: ${HANDED_ON.get(name) ?? "u32"}`,
  );
  return `
@compute @workgroup_size(${size})
fn hmm_main(@builtin(workgroup_id) hmm_cell: vec3u, @builtin(local_invocation_id) hmm_lid: vec3u,
  @builtin(local_invocation_index) hmm_index: u32${extras.join("")}) {
  let hmm_place = hmm_u.first + hmm_cell.x + (hmm_cell.y << 15u);
  if (hmm_place >= hmm_u.end) { return; }
  let hmm_group_index = hmm_group_at(hmm_place);
  let hmm_row = hmm_group_index / hmm_u.groups.x;
  let hmm_wid = vec3u(hmm_group_index % hmm_u.groups.x, hmm_row % hmm_u.groups.y,
    hmm_row / hmm_u.groups.y);
  let hmm_size = vec3u(u32(${sizes[0] ?? "1"}), u32(${sizes[1] ?? "1"}), u32(${sizes[2] ?? "1"}));
  hmm_group = hmm_group_index;
  hmm_fuel = hmm_u.fuel;
  ${entry.name}(${values.join(", ")});
  hmm_finish();
}
`;
}

function splitArguments(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let part = "";
  for (const character of text) {
    if (character === "(" || character === "<") depth++;
    if (character === ")" || character === ">") depth--;
    if (character === "," && depth === 0) {
      parts.push(part);
      part = "";
    } else part += character;
  }
  if (part.trim() !== "") parts.push(part);
  return parts.map((one) => one.trim());
}

/** What the user's function gets for a parameter: a built-in value, or a structure of them. */
function valueOf(
  wgsl: WgslText,
  entry: WgslFunction,
  { name, type, attributes }: Field,
  extra: Set<string>,
): string {
  const builtin = attributes.find((attribute) => attribute.name === "builtin")?.arguments;
  if (builtin !== undefined) {
    const shifted = SHIFTED.get(builtin);
    if (shifted !== undefined) return shifted;
    if (HANDED_ON.has(builtin)) {
      extra.add(builtin);
      return `hmm_${builtin}`;
    }
    const message = `the built-in value "${builtin}" is unknown to hmm-ts; leave it out`;
    throw new WgslError([{ ...placeOf(wgsl.text, entry.at), message }]);
  }
  const members = wgsl.structures.get(type);
  if (members === undefined) {
    const message = `parameter "${name}" of the entry point is no built-in value`;
    throw new WgslError([{ ...placeOf(wgsl.text, entry.at), message }]);
  }
  return `${type}(${members.map((member) => valueOf(wgsl, entry, member, extra)).join(", ")})`;
}
