/** @module A thread that builds part of the tree (build.ts). Entry file of a Worker. */

import { AddressSpace } from "../../../src/index.ts";
import { answerCall } from "../worker-call.ts";
import type { BuildInput, SecondPart } from "./build.ts";
import { CITY_BYTES, PAGE_BYTES } from "./layout.ts";
import { makeRows, treeMemory, writeCities } from "./records.ts";
import { TreeBuilder } from "./tree-builder.ts";
import type { Half } from "./tree-builder.ts";

/** Runs `work` with a builder of the tree's bytes `startByte` to `endByte`, in a write view. */
function withBuilder<Result>(
  space: AddressSpace,
  { map }: BuildInput,
  rows: Float64Array,
  startByte: number,
  endByte: number,
  work: (builder: TreeBuilder) => Result,
): Result {
  using nodes = space.viewSync(map.nodes + startByte, endByte - startByte, "write");
  const memory = treeMemory(nodes.as(Uint8Array), startByte, map.nodes, map.cities);
  return work(new TreeBuilder(rows, memory));
}

/** Builds a half of the tree, and writes its cities. */
function buildHalf(space: AddressSpace, input: BuildInput, rows: Float64Array, half: Half): void {
  const { startByte, endByte, startRow, endRow } = half;
  if (endByte > startByte)
    withBuilder(space, input, rows, startByte, endByte, (builder) => builder.build(half));
  if (startRow === endRow) return;
  const address = input.map.cities + startRow * CITY_BYTES;
  using view = space.viewSync(address, (endRow - startRow) * CITY_BYTES, "write");
  writeCities(view.as(Uint8Array), rows, startRow, endRow, input.cities);
}

await answerCall(async (input: BuildInput, call): Promise<void> => {
  await using space = await AddressSpace.attach(input.handle);
  if (!input.isFirst) {
    const part = (await call.nextMessage()) as SecondPart | undefined;
    if (part !== undefined) buildHalf(space, input, part.rows, part.half);
    return;
  }
  const rows = makeRows(input.cities);
  const plant = (builder: TreeBuilder): readonly [Half, Half] => builder.plantRoot();
  const [first, second] = withBuilder(space, input, rows, 0, PAGE_BYTES, plant);
  call.report({ rows, half: second } satisfies SecondPart);
  buildHalf(space, input, rows, first);
});
