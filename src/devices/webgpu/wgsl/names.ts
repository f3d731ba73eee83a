/** @module devices/webgpu/wgsl/names: the names that the library declares in a kernel's text. */

import { libraryText } from "./library.ts";
import { scanWgsl } from "./scan.ts";

/** A user's text may declare none of them. */
export const LIBRARY_NAMES: ReadonlySet<string> = new Set(
  scanWgsl(
    libraryText({
      isRecording: true,
      usesAtomics: true,
      table: { isFlat: true, words: 1 },
      // each buffer of a pool has a name
      pool: { frames: 64, bufferFrames: 1 },
    }),
  ).declared.keys(),
);
