/**
 * @module devices/webgpu/wgsl/record-text
 * WGSL for the records of a kernel: for `records: { Item }` a structure `Item`, and functions that
 * load and store one by its fields. It stands behind the user's text, as the library does, so no
 * line of his moves. A record that lies in one page is loaded through a span, by one translation.
 *
 * A structure here is a value, not a layout: where its words lie is said by the functions. So it
 * may have fields that WGSL has no type for (`f64`, `u64`, `i64`, `ptr`): they are `vec2u`, the low
 * word first.
 */

import type { FieldType, RecordLayout } from "../../../driver-interface.ts";
import { isArrayField as isArray, strideBytes } from "../../../driver-interface.ts";

/** Where words come from: a span, or the memory itself. */
interface Source {
  /** Loads a number or a vector. `offset`: bytes from the record, as an expression. */
  readonly load: (type: string, offset: string) => string;
  readonly store: (type: string, offset: string, value: string) => string;
  readonly loadRecord: (name: string, offset: string) => string;
  readonly storeRecord: (name: string, offset: string, value: string) => string;
}

const MEMORY: Source = {
  load: (type, offset) => `load_${type}(ptr_add(p, ${offset}))`,
  store: (type, offset, value) => `store_${type}(ptr_add(p, ${offset}), ${value});`,
  loadRecord: (name, offset) => `load_${name}(ptr_add(p, ${offset}))`,
  storeRecord: (name, offset, value) => `store_${name}(ptr_add(p, ${offset}), ${value});`,
};

const SPAN: Source = {
  load(type, offset) {
    const [width, words] = partsOf(type);
    const parts = Array.from({ length: words }, (_, i) => `span_${width}(s, ${word(offset, i)})`);
    return words === 1 ? (parts[0] ?? "") : `${type}(${parts.join(", ")})`;
  },
  store(type, offset, value) {
    const [width, words] = partsOf(type);
    if (words === 1) return `span_set_${width}(s, ${word(offset, 0)}, ${value});`;
    const parts = Array.from({ length: words }, (_, i) => {
      return `span_set_${width}(s, ${word(offset, i)}, ${value}[${i}]);`;
    });
    return parts.join(" ");
  },
  loadRecord: (name, offset) => `span_${name}(s, ${word(offset, 0)})`,
  storeRecord: (name, offset, value) => `span_set_${name}(s, ${word(offset, 0)}, ${value});`,
};

/** Inside a record, `at` is the span's word at which it begins; the offset is bytes from there. */
function word(offset: string, index: number): string {
  return `at + (${offset}) / 4u + ${index}u`;
}

function partsOf(type: string): [width: string, words: number] {
  if (!type.startsWith("vec")) return [type, 1];
  const widths: Readonly<Record<string, string>> = { u: "u32", i: "i32", f: "f32" };
  return [widths[type.slice(4)] ?? "u32", Number(type[3])];
}

/** The WGSL type of a leaf. */
function leafType(type: string): string {
  return ["ptr", "u64", "i64", "f64"].includes(type) ? "vec2u" : type;
}

/** The names of the records, those inside of others included, in an order that WGSL can have. */
function nameAll(records: Readonly<Record<string, RecordLayout>>): Map<RecordLayout, string> {
  const names = new Map<RecordLayout, string>();
  for (const [name, layout] of Object.entries(records)) names.set(layout, name);
  const add = (type: FieldType, name: string): void => {
    if (isArray(type)) add(type[0], name);
    else if (typeof type !== "string") {
      if (!names.has(type)) names.set(type, name);
      for (const field of type.fields) add(field.type, `${name}_${field.name}`);
    }
  };
  for (const [name, layout] of Object.entries(records)) add(layout, name);
  return names;
}

function typeText(names: ReadonlyMap<RecordLayout, string>, type: FieldType): string {
  if (isArray(type)) return `array<${typeText(names, type[0])}, ${type[1]}>`;
  return typeof type === "string" ? leafType(type) : (names.get(type) ?? "");
}

/** Statements that load or store `path`, a field of `v`. */
function moveText(
  names: ReadonlyMap<RecordLayout, string>,
  source: Source,
  { type, offset, path, isStore }: Move,
): string {
  if (isArray(type)) {
    const [element, count] = type;
    const i = `i${path.length}`;
    const inner = moveText(names, source, {
      type: element,
      offset: `${offset} + ${i} * ${strideBytes(element)}u`,
      path: `${path}[${i}]`,
      isStore,
    });
    return `for (var ${i} = 0u; ${i} < ${count}u; ${i}++) { ${inner} }`;
  }
  if (typeof type !== "string") {
    const name = names.get(type) ?? "";
    if (isStore) return source.storeRecord(name, offset, path);
    return `${path} = ${source.loadRecord(name, offset)};`;
  }
  if (isStore) return source.store(leafType(type), offset, path);
  return `${path} = ${source.load(leafType(type), offset)};`;
}

interface Move {
  readonly type: FieldType;
  readonly offset: string;
  readonly path: string;
  readonly isStore: boolean;
}

function recordText(
  names: ReadonlyMap<RecordLayout, string>,
  name: string,
  { fields, sizeBytes }: RecordLayout,
): string {
  const members = fields.map((field) => `${field.name}: ${typeText(names, field.type)}`);
  const moves = (source: Source, isStore: boolean): string =>
    fields
      .map(({ name: field, type, offsetBytes }) =>
        moveText(names, source, { type, offset: `${offsetBytes}u`, path: `v.${field}`, isStore }),
      )
      .join("\n  ");
  const words = sizeBytes / 4;
  const places = fields.map(
    (field) =>
      `fn at_${name}_${field.name}(p: vec2u) -> vec2u { return ptr_add(p, ${field.offsetBytes}u); }`,
  );
  return `
struct ${name} { ${members.join(", ")} }
const ${name}_bytes = ${sizeBytes}u;
${places.join("\n")}
fn span_${name}(s: span, at: u32) -> ${name} {
  var v: ${name};
  ${moves(SPAN, false)}
  return v;
}
fn span_set_${name}(s: span, at: u32, v: ${name}) {
  ${moves(SPAN, true)}
}
fn load_${name}(p: vec2u) -> ${name} {
  let s = span_read(p, ${words}u);
  if (s.words == ${words}u) { return span_${name}(s, 0u); }
  var v: ${name};
  ${moves(MEMORY, false)}
  return v;
}
fn store_${name}(p: vec2u, v: ${name}) {
  let s = span_write(p, ${words}u);
  if (s.words == ${words}u) { span_set_${name}(s, 0u, v); return; }
  ${moves(MEMORY, true)}
}`;
}

/** What the records of a kernel add to its text. */
export function recordsText(records: Readonly<Record<string, RecordLayout>>): string {
  const names = nameAll(records);
  return [...names].map(([layout, name]) => recordText(names, name, layout)).join("\n");
}

/** The names that they declare. */
export function recordNames(records: Readonly<Record<string, RecordLayout>>): string[] {
  return [...nameAll(records)].flatMap(([{ fields }, name]) => [
    name,
    `${name}_bytes`,
    ...["span_", "span_set_", "load_", "store_"].map((prefix) => prefix + name),
    ...fields.map((field) => `at_${name}_${field.name}`),
  ]);
}

/** The names of all fields, those of records inside of others included. */
export function fieldNames(records: Readonly<Record<string, RecordLayout>>): string[] {
  return [...nameAll(records).keys()].flatMap(({ fields }) => fields.map(({ name }) => name));
}
