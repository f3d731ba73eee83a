/** @module devices/webgpu/wgsl/names: the names that the library declares in a kernel's text. */

import { SPECIAL_NAME, libraryText } from "./library.ts";
import { scanWgsl } from "./scan.ts";

/** What the library declares. */
export const LIBRARY_NAMES: ReadonlySet<string> = new Set(
  scanWgsl(
    libraryText({
      isRecording: true,
      usesAtomics: true,
      isGated: false,
      specialForms: [],
      usesItems: false,
      table: { isFlat: true, words: 1 },
      // each buffer of a pool has a name
      pool: { frames: 64, bufferFrames: 1 },
    }),
  ).declared.keys(),
);

/** Whether it is a name of the library: a user's text may not declare it. */
export function isLibraryName(name: string): boolean {
  return LIBRARY_NAMES.has(name) || name.startsWith("hmm_") || SPECIAL_NAME.test(name);
}
