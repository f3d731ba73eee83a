/**
 * @module mmu/records/record
 * Records: structures that are described once and lie in memory with the same bytes for CPU
 * threads, for kernels of the software device, and in WGSL (`records` of a kernel of `hmm-ts/
 * webgpu`). Loads and stores here are for clarity: they make objects. Code that must be fast adds
 * `offsets` to its address and loads words.
 */

import { EINVAL } from "../../sync/errno.ts";
import { HmmError } from "../../sync/errors.ts";
import { nearNames } from "../../sync/near-names.ts";
import { formatValue } from "../../sync/argument-rules.ts";
import type { TypedAccess } from "../access.ts";
import {
  type FieldType,
  LEAF_NAMES,
  type RecordField,
  type RecordFields,
  type RecordLayout,
  type ScalarField,
  type VectorField,
  isArray,
  isLayout,
  isLeaf,
  layOut,
  strideBytes,
} from "./fields.ts";
import { type FieldOfSchema, type StructSchema, fieldsOfSchema, isStructSchema } from "./schema.ts";

/** What a field of this type is in JavaScript. */
export type FieldValue<F> = F extends "u64" | "i64"
  ? bigint
  : F extends ScalarField
    ? number
    : F extends VectorField
      ? readonly number[]
      : F extends RecordType<infer Inner>
        ? RecordValues<Inner>
        : F extends readonly [infer Element, number]
          ? readonly FieldValue<Element>[]
          : unknown;

/** The values of a record by name. */
export type RecordValues<F> = { -readonly [K in keyof F]: FieldValue<F[K]> };

/** A kind of record, made by {@link record}. */
export interface RecordType<F = RecordFields> extends RecordLayout {
  /** Where each field begins, in bytes from the beginning of the record. */
  readonly offsets: { readonly [K in keyof F]: number };
  /**
   * The record at `address`, a multiple of `alignBytes`. Its fields are loaded one after the other.
   * Throws what the loads throw.
   */
  load(memory: TypedAccess, address: number): RecordValues<F>;
  /**
   * Stores the fields that `values` has, one after the other; the others stay as they are. Throws
   * HmmError EINVAL for a field that the record has not, or an array of another length, and then
   * has stored nothing; else what the stores throw.
   */
  store(memory: TypedAccess, address: number, values: Partial<RecordValues<F>>): void;
}

/** No array or record is longer than this. */
const SIZE_MAX_BYTES = 2 ** 30;

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

function refusal(text: string): HmmError {
  return new HmmError(EINVAL, "record", `Cannot describe the record: ${text}`);
}

/**
 * Describes a record by its fields, or by a schema of TypeGPU's. Throws HmmError EINVAL for a field
 * that cannot be.
 *
 * @example
 * ```ts
 * import { AddressSpace, record } from "hmm-ts";
 *
 * const Item = record({ key: "u32", next: "ptr", place: "vec3f", tags: ["u32", 2] });
 * console.log(Item.sizeBytes, Item.offsets.place); // 48 16
 *
 * using space = AddressSpace.createSync();
 * const p = space.mmapSync(4096);
 * Item.store(space, p, { key: 7, place: [1, 2, 3] });
 * console.log(Item.load(space, p).place); // [ 1, 2, 3 ]
 * console.log(space.u32.load(p + Item.offsets.key)); // 7
 * ```
 */
export function record<const F extends RecordFields>(fields: F): RecordType<F>;
export function record<S extends StructSchema>(
  schema: S,
): RecordType<{ readonly [K in keyof S["propTypes"]]: FieldOfSchema<S["propTypes"][K]> }>;
export function record(described: RecordFields | StructSchema): RecordType {
  if (!isStructSchema(described)) return makeRecord(described);
  const found = fieldsOfSchema(described, (inner) => record(inner));
  if ("fields" in found) return makeRecord(found.fields);
  const wanted = `${LEAF_NAMES.join(", ")}, or arrays and structures of them`;
  throw refusal(`${found.unknown}; give ${wanted}`);
}

function makeRecord(fields: RecordFields): RecordType {
  if (typeof fields !== "object" || fields === null || Object.keys(fields).length === 0)
    throw refusal(`the fields are ${formatValue(fields)}; give an object with a type by name`);
  for (const [name, type] of Object.entries(fields)) {
    if (!NAME.test(name)) throw refusal(`"${name}" is no name; give letters, digits and _`);
    checkType(name, type);
  }
  const layout = layOut(fields);
  if (layout.sizeBytes > SIZE_MAX_BYTES)
    throw refusal(`it has ${layout.sizeBytes} bytes; give at most ${SIZE_MAX_BYTES}`);
  return {
    ...layout,
    offsets: Object.fromEntries(layout.fields.map((field) => [field.name, field.offsetBytes])),
    load: (memory, address) => loadRecord(memory, address, layout),
    store(memory, address, values) {
      checkValues(layout, values);
      storeRecord(memory, address, layout, values);
    },
  };
}

function checkType(name: string, type: unknown): void {
  if (isLeaf(type) || isLayout(type)) return;
  if (Array.isArray(type) && type.length === 2) {
    const [element, count] = type as readonly unknown[];
    if (!Number.isSafeInteger(count) || Number(count) < 1)
      throw refusal(`the length of "${name}" is ${formatValue(count)}; give a number above 0`);
    checkType(name, element);
    return;
  }
  const near = typeof type === "string" ? nearNames(type, LEAF_NAMES) : [];
  const wanted = near.length > 0 ? near.join(" or ") : `${LEAF_NAMES.join(", ")}, a record`;
  throw refusal(`"${name}" is ${formatValue(type)}; give ${wanted}, or [type, count]`);
}

type Values = Readonly<Record<string, unknown>>;

function loadRecord(memory: TypedAccess, address: number, layout: RecordLayout): Values {
  const values: Record<string, unknown> = {};
  for (const { name, type, offsetBytes } of layout.fields)
    values[name] = loadField(memory, address + offsetBytes, type);
  return values;
}

function loadField(memory: TypedAccess, address: number, type: FieldType): unknown {
  if (isArray(type)) {
    const [element, count] = type;
    const stride = strideBytes(element);
    return Array.from({ length: count }, (_, i) =>
      loadField(memory, address + i * stride, element),
    );
  }
  if (typeof type !== "string") return loadRecord(memory, address, type);
  if (!isVector(type)) return memory[type].load(address);
  const { width, words } = partsOf(type);
  return Array.from({ length: words }, (_, i) => memory[width].load(address + 4 * i));
}

function storeRecord(
  memory: TypedAccess,
  address: number,
  layout: RecordLayout,
  values: Values,
): void {
  for (const { name, type, offsetBytes } of layout.fields) {
    const value = values[name];
    if (value !== undefined) storeField(memory, address + offsetBytes, type, value);
  }
}

/** `value` has been checked. */
function storeField(memory: TypedAccess, address: number, type: FieldType, value: unknown): void {
  if (isArray(type)) {
    const stride = strideBytes(type[0]);
    for (const [i, element] of (value as readonly unknown[]).entries())
      storeField(memory, address + i * stride, type[0], element);
  } else if (typeof type !== "string") storeRecord(memory, address, type, value as Values);
  else if (isVector(type)) {
    const { width } = partsOf(type);
    for (const [i, part] of (value as readonly number[]).entries())
      memory[width].store(address + 4 * i, part);
  } else if (type === "u64" || type === "i64") memory[type].store(address, value as bigint);
  else memory[type].store(address, value as number);
}

function checkValues({ fields }: RecordLayout, values: unknown): void {
  const refuse = (text: string): HmmError =>
    new HmmError(EINVAL, "store", `Cannot store the record: ${text}`);
  if (typeof values !== "object" || values === null)
    throw refuse(`the values are ${formatValue(values)}; give an object`);
  const byName = new Map(fields.map((field) => [field.name, field]));
  for (const [name, value] of Object.entries(values)) {
    const field = byName.get(name);
    if (field === undefined) {
      const near = nearNames(name, [...byName.keys()]);
      const names = near.length > 0 ? near : [...byName.keys()];
      throw refuse(`there is no field "${name}"; give ${names.join(", ")}`);
    }
    if (value !== undefined) checkValue(refuse, field, field.type, value);
  }
}

function checkValue(
  refuse: (text: string) => HmmError,
  field: RecordField,
  type: FieldType,
  value: unknown,
): void {
  if (isArray(type) || (typeof type === "string" && isVector(type))) {
    const count = isArray(type) ? type[1] : partsOf(type).words;
    const length = isList(value) ? value.length : undefined;
    if (length !== count)
      throw refuse(`"${field.name}" is ${formatValue(value)}; give an array of ${count}`);
    if (isArray(type) && isList(value))
      for (let i = 0; i < count; i++) checkValue(refuse, field, type[0], value[i]);
  } else if (typeof type === "object") checkValues(type, value);
  else if (type === "u64" || type === "i64" ? typeof value !== "bigint" : typeof value !== "number")
    throw refuse(
      `"${field.name}" is ${formatValue(value)}; give ${type.endsWith("64") && type !== "f64" ? "a BigInt" : "a number"}`,
    );
}

function isList(value: unknown): value is ArrayLike<unknown> & Iterable<unknown> {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && "length" in value);
}

function isVector(type: ScalarField | VectorField): type is VectorField {
  return type.startsWith("vec");
}

const WIDTHS = { u: "u32", i: "i32", f: "f32" } as const;

/** The width of a vector's parts, and how many there are. */
function partsOf(type: VectorField): { width: "u32" | "i32" | "f32"; words: number } {
  return { width: WIDTHS[type.slice(4) as "u" | "i" | "f"], words: Number(type[3]) };
}
