/**
 * @module memory/ram-section
 * One SharedArrayBuffer whose pages are frames.
 */

/** What another thread needs to use a section. Structured-cloneable. */
export interface RamSectionHandle {
  readonly basePfn: number;
  readonly buffer: SharedArrayBuffer;
  /** The frame table. */
  readonly frames: SharedArrayBuffer;
  readonly recordAt: number;
}

export interface RamSection {
  readonly basePfn: number;
  readonly pages: number;
  /** False for a user's own buffer: its frames are never allocated and never freed. */
  readonly owned: boolean;
  readonly buffer: SharedArrayBuffer;
  readonly u8: Uint8Array;
  readonly i8: Int8Array;
  readonly u16: Uint16Array;
  readonly i16: Int16Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly f32: Float32Array;
  readonly f64: Float64Array;
  readonly frames: Int32Array;
}
