/**
 * @module mmu/records/schema
 * Schemas of TypeGPU (`d.struct({ ... })`) as fields of a record. They are told by their shape, so
 * nothing of TypeGPU is imported: `type` says what a schema is; a structure has `propTypes`, an
 * array `elementType` and `elementCount`, an atomic `inner`.
 */

import { type FieldType, type ScalarField, type VectorField, isLeaf } from "./fields.ts";
import type { RecordFields } from "./fields.ts";

/** A schema of a structure, as TypeGPU's `d.struct` makes it. */
export interface StructSchema {
  /** Tells a structure from other schemas. */
  readonly type: "struct";
  /** The schemas of its fields, by name. */
  readonly propTypes: Readonly<Record<string, unknown>>;
}

/** The field that a schema describes; `never` where there is none. */
export type FieldOfSchema<S> = S extends {
  readonly type: "array";
  readonly elementType: infer E;
}
  ? readonly [FieldOfSchema<E>, number]
  : S extends { readonly type: "atomic"; readonly inner: infer I }
    ? FieldOfSchema<I>
    : S extends { readonly type: infer T extends ScalarField | VectorField }
      ? T
      : FieldType;

export function isStructSchema(value: unknown): value is StructSchema {
  const propTypes = propertyOf(value, "propTypes");
  return propertyOf(value, "type") === "struct" && isObject(propTypes);
}

/**
 * The fields of a structure. Returns the path of what cannot be a field, and what it is, instead:
 * booleans, 16-bit numbers, matrices, sizes and alignments of one's own.
 */
export function fieldsOfSchema(
  { propTypes }: StructSchema,
  nested: (schema: StructSchema) => FieldType,
): { readonly fields: RecordFields } | { readonly unknown: string } {
  const fields: Record<string, FieldType> = {};
  for (const [name, schema] of Object.entries(propTypes)) {
    const field = fieldOf(schema, nested);
    if (typeof field === "object" && "unknown" in field)
      return { unknown: `"${name}" is ${field.unknown}` };
    fields[name] = field;
  }
  return { fields };
}

function fieldOf(
  schema: unknown,
  nested: (schema: StructSchema) => FieldType,
): FieldType | { readonly unknown: string } {
  if (isStructSchema(schema)) return nested(schema);
  const type = propertyOf(schema, "type");
  if (isLeaf(type)) return type;
  if (type === "atomic") return fieldOf(propertyOf(schema, "inner"), nested);
  if (type !== "array")
    return { unknown: typeof type === "string" ? `of the type ${type}` : "no schema" };
  const element = fieldOf(propertyOf(schema, "elementType"), nested);
  if (typeof element === "object" && "unknown" in element) return element;
  const count = propertyOf(schema, "elementCount");
  if (typeof count !== "number" || count === 0) return { unknown: "an array without a length" };
  return [element, count];
}

function isObject(value: unknown): value is object {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}

function propertyOf(value: unknown, name: string): unknown {
  return isObject(value) ? Reflect.get(value, name) : undefined;
}
