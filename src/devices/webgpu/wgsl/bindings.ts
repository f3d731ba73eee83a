/**
 * @module devices/webgpu/wgsl/bindings
 * The variables of a user's text that a dispatch binds: `@group(0) @binding(1) var<uniform> camera:
 * Camera;`. What each needs of a bind group is read from its declaration, so that a pipeline's
 * layout is the same for both kinds of pass.
 *
 * | variable | may be stored to |
 * | --- | --- |
 * | `var<uniform>`, `var<storage>`, `var<storage, read>` | no |
 * | `var<storage, read_write>` | yes: backed up before each chunk (bound.ts) |
 * | sampled and depth textures, samplers, `texture_storage_*<format, read>` | no |
 * | `texture_storage_*` with `write` or `read_write` | refused: nothing could undo it |
 */

import { type ProgramError, WgslError, placeOf } from "./diagnostics.ts";
import { LIBRARY_GROUP } from "./layout.ts";
import type { Variable, WgslText } from "./scan.ts";
import { usedBytesOf } from "./type-layout.ts";

/** What may be bound to a variable. */
export type BoundKind = "uniform" | "read" | "write" | "texture" | "sampler";

/** What a bind group's layout says of the variable. */
export type BoundLayout = Pick<
  GPUBindGroupLayoutEntry,
  "buffer" | "texture" | "storageTexture" | "sampler"
>;

export interface BoundVariable {
  readonly name: string;
  readonly group: number;
  readonly binding: number;
  readonly kind: BoundKind;
  readonly layout: BoundLayout;
  /** Of a buffer: how long it must be at least, for each value of the variable. 0: unknown. */
  readonly usedBytes: number;
  readonly line: number;
  readonly column: number;
}

/** What a variable's declaration says; or why it is refused. */
type Meaning = Pick<BoundVariable, "kind" | "layout"> | string;

/** All that have a `@group` or a `@binding`, used or not. Throws WgslError. */
export function boundVariables(wgsl: WgslText): BoundVariable[] {
  const errors: ProgramError[] = [];
  const found: BoundVariable[] = [];
  for (const variable of wgsl.variables) {
    const place = placeOf(wgsl.text, variable.name.at);
    const refuse = (message: string): unknown => errors.push({ ...place, message });
    const group = numberOf(variable, "group");
    const binding = numberOf(variable, "binding");
    if (group === undefined && binding === undefined) continue;
    const name = variable.name.text;
    const meaning = meaningOf(wgsl, variable);
    const twin = found.find((one) => one.group === group && one.binding === binding);
    if (group === undefined || binding === undefined || Number.isNaN(group + binding))
      refuse(`"${name}" needs @group and @binding, each with a number and nothing else`);
    else if (group >= LIBRARY_GROUP)
      refuse(`group ${group} is not yours: use 0 to ${LIBRARY_GROUP - 1}`);
    else if (twin !== undefined) refuse(`"${name}" has the binding of "${twin.name}"`);
    else if (typeof meaning === "string") refuse(meaning);
    else {
      const usedBytes = usedBytesOf(wgsl, variable.type) ?? 0;
      found.push({ name, group, binding, ...place, ...meaning, usedBytes });
    }
  }
  if (errors.length > 0) throw new WgslError(errors);
  return found;
}

/** The attribute's number; NaN if it is something else, undefined if there is none. */
function numberOf({ attributes }: Variable, name: string): number | undefined {
  const text = attributes.find((one) => one.name === name)?.arguments;
  if (text === undefined) return undefined;
  return /^\d+[ui]?$/u.test(text) ? Number.parseInt(text, 10) : NaN;
}

function meaningOf(wgsl: WgslText, { name, space, type }: Variable): Meaning {
  const [first, access = "read"] = space;
  if (first === "uniform") return { kind: "uniform", layout: { buffer: { type: "uniform" } } };
  if (first === "storage" && access === "read")
    return { kind: "read", layout: { buffer: { type: "read-only-storage" } } };
  if (first === "storage") return { kind: "write", layout: { buffer: { type: "storage" } } };
  const plain = (wgsl.aliases.get(type) ?? type).replace(/\s+/gu, "");
  if (first !== undefined || plain === "")
    return `"${name.text}" can be bound only as var<uniform>, var<storage>, texture or sampler`;
  return handleMeaning(wgsl, name.text, plain);
}

const TEXTURE =
  /^texture_(depth_)?(multisampled_)?(1d|2d|2d_array|3d|cube|cube_array)(?:<(\w+)>)?$/u;
const STORAGE_TEXTURE = /^texture_storage_(1d|2d|2d_array|3d)<(\w+),(\w+),?>$/u;

/** By the type of a texture's components. */
const SAMPLE_TYPES: ReadonlyMap<string, GPUTextureSampleType> = new Map([
  ["i32", "sint"],
  ["u32", "uint"],
]);

function handleMeaning(wgsl: WgslText, name: string, type: string): Meaning {
  if (type === "sampler") return { kind: "sampler", layout: { sampler: { type: "filtering" } } };
  if (type === "sampler_comparison")
    return { kind: "sampler", layout: { sampler: { type: "comparison" } } };
  if (/^texture_storage_\w+<\w+>$/u.test(type))
    return `"${name}" needs its access: ${type.slice(0, -1)}, read>`;
  const storage = STORAGE_TEXTURE.exec(type);
  if (storage !== null) {
    const [, view = "2d", format = "", access] = storage;
    if (access !== "read")
      return `"${name}" may be read only: store to a buffer, or through a pointer, instead`;
    const storageTexture: GPUStorageTextureBindingLayout = {
      access: "read-only",
      format: format as GPUTextureFormat, // the compiler has the last word
      viewDimension: viewOf(view),
    };
    return { kind: "texture", layout: { storageTexture } };
  }
  const sampled = TEXTURE.exec(type);
  if (sampled === null) return `a variable of type ${type} cannot be bound`;
  const [, depth, multisampled, view = "2d", component = ""] = sampled;
  // A texture that nothing samples may have a format that cannot be filtered.
  const isSampled = wgsl.tokens.some(({ text }) => /^texture(?:Sample|Gather)/u.test(text));
  const isFiltered = isSampled && multisampled === undefined;
  const ofFloats = isFiltered ? "float" : "unfilterable-float";
  const texture: GPUTextureBindingLayout = {
    sampleType: depth === undefined ? (SAMPLE_TYPES.get(component) ?? ofFloats) : "depth",
    viewDimension: viewOf(view),
    multisampled: multisampled !== undefined,
  };
  return { kind: "texture", layout: { texture } };
}

function viewOf(name: string): GPUTextureViewDimension {
  return name.replace("_", "-") as GPUTextureViewDimension; // one of those of the patterns above
}
