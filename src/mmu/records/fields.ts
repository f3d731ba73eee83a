/**
 * @module mmu/records/fields
 * What the fields of a record may be, and where they lie. The rules are those of WGSL for storage
 * buffers (WGSL 14.4.1, "Alignment and Size"), which are also those of TypeGPU's schemas: a vector
 * of two is aligned to two of its words, of three and four to four; an array to its elements; a
 * record to its widest field. So a record has the same bytes in JavaScript, in a kernel of the
 * software device, and in WGSL.
 */

/** One number; `ptr` is an address. */
export type ScalarField = "u32" | "i32" | "f32" | "ptr" | "u64" | "i64" | "f64";

/** Two to four numbers of 32 bits. */
export type VectorField = "vec2u" | "vec3u" | "vec4u" | "vec2i" | "vec3i" | "vec4i" | FloatVector;
type FloatVector = "vec2f" | "vec3f" | "vec4f";

/** What a field may be: a number, a vector, a record, or an array `[element, count]` of one. */
export type FieldType = ScalarField | VectorField | RecordLayout | readonly [FieldType, number];

/** The fields of a record by name, in the order in which they lie. */
export interface RecordFields {
  /** The type of the field with this name. */
  readonly [name: string]: FieldType;
}

/** Where a field lies in its record. */
export interface RecordField {
  /** The name of the field. */
  readonly name: string;
  /** What the field is: a number, a vector, a record, an array. */
  readonly type: FieldType;
  /** Bytes from the beginning of the record. */
  readonly offsetBytes: number;
}

/** Where the fields of a record lie. */
export interface RecordLayout {
  /** The fields, in order. */
  readonly fields: readonly RecordField[];
  /** Length in bytes: a multiple of `alignBytes`. */
  readonly sizeBytes: number;
  /** What the address of a record in an array is a multiple of: 4, 8 or 16. */
  readonly alignBytes: number;
}

interface Extent {
  readonly sizeBytes: number;
  readonly alignBytes: number;
}

const EXTENTS: ReadonlyMap<string, Extent> = new Map([
  ...["u32", "i32", "f32"].map((name) => extent(name, 4, 4)),
  ...["ptr", "u64", "i64", "f64"].map((name) => extent(name, 8, 8)),
  ...["u", "i", "f"].flatMap((kind) => [
    extent(`vec2${kind}`, 8, 8),
    extent(`vec3${kind}`, 12, 16),
    extent(`vec4${kind}`, 16, 16),
  ]),
]);

function extent(name: string, sizeBytes: number, alignBytes: number): [string, Extent] {
  return [name, { sizeBytes, alignBytes }];
}

/** The names of all numbers and vectors. */
export const LEAF_NAMES: readonly string[] = [...EXTENTS.keys()];

/** Whether a field is a number or a vector. */
export function isLeaf(type: unknown): type is ScalarField | VectorField {
  return typeof type === "string" && EXTENTS.has(type);
}

/** Whether a field is an array. */
export function isArray(type: FieldType): type is readonly [FieldType, number] {
  return Array.isArray(type);
}

/** Whether it is a record, or the layout of one. */
export function isLayout(type: unknown): type is RecordLayout {
  return typeof type === "object" && type !== null && "fields" in type && "alignBytes" in type;
}

/** Bytes from one element of an array to the next. */
export function strideBytes(element: FieldType): number {
  const { sizeBytes, alignBytes } = extentOf(element);
  return roundUp(sizeBytes, alignBytes);
}

/** The layout of checked fields. */
export function layOut(fields: RecordFields): RecordLayout {
  const placed: RecordField[] = [];
  let end = 0;
  let align = 4;
  for (const [name, type] of Object.entries(fields)) {
    const { sizeBytes, alignBytes } = extentOf(type);
    const offsetBytes = roundUp(end, alignBytes);
    placed.push({ name, type, offsetBytes });
    end = offsetBytes + sizeBytes;
    align = Math.max(align, alignBytes);
  }
  return { fields: placed, sizeBytes: roundUp(end, align), alignBytes: align };
}

function extentOf(type: FieldType): Extent {
  if (isArray(type)) {
    const [element, count] = type;
    const { alignBytes } = extentOf(element);
    return { sizeBytes: strideBytes(element) * count, alignBytes };
  }
  return typeof type === "string" ? (EXTENTS.get(type) ?? NOTHING) : type;
}

const NOTHING: Extent = { sizeBytes: 0, alignBytes: 4 };

function roundUp(bytes: number, align: number): number {
  return Math.ceil(bytes / align) * align;
}
