/** @module Structs that both sides of the thread tests declare. */

import type { Struct, StructView, WordArray } from "../../src/memory/layout/struct.ts";
import { array, struct, u32 } from "../../src/memory/layout/struct.ts";

export const Node: Struct<StructView & { mark: number; readonly rest: WordArray }> = struct<
  StructView & { mark: number; readonly rest: WordArray }
>("threadNode", { mark: u32("its owner", ""), rest: array(9, "its owner", "") });

export const Wide: Struct<StructView & { readonly all: WordArray }> = struct<
  StructView & { readonly all: WordArray }
>("threadWide", {
  all: array(300, "its owner", ""),
});
