/**
 * @module A Worker that fetches the borders, piece by piece, and then builds their tree in an
 * address space that is as large as they need. A Worker may block, as the page may not.
 *
 *     page                                    this Worker
 *     url  ---------------------------------> reads
 *       <------------- progress, progress, read: how many places
 *     makes the space
 *     handle, rooms ------------------------> builds
 *       <------------------------------------ built
 */

import { AddressSpace, type AddressSpaceHandle } from "hmm-ts";
import { BorderReader } from "../../command/src/countries/borders.ts";
import { PLACE_WORDS } from "../../command/src/countries/layout.ts";
import { PieceList } from "../../command/src/countries/piece-list.ts";
import { type Room, TreeBuilder } from "../../command/src/countries/tree-builder.ts";

export type BuildOrder =
  | { readonly kind: "read"; readonly url: string }
  | {
      readonly kind: "build";
      readonly handle: AddressSpaceHandle;
      readonly nodes: Room;
      readonly leaves: Room;
    };

export type BuildReport =
  | { readonly kind: "progress"; readonly text: string }
  | { readonly kind: "failed"; readonly text: string }
  | { readonly kind: "read"; readonly placeBytes: number }
  | {
      readonly kind: "built";
      readonly root: number;
      readonly bytes: number;
      readonly names: readonly string[];
    };

interface WorkerScope {
  addEventListener(type: "message", hear: (event: { data: BuildOrder }) => void): void;
  postMessage(report: BuildReport): void;
}

/** Borders as they were read. */
interface Borders {
  readonly rings: PieceList;
  readonly names: readonly string[];
  readonly places: Uint32Array<ArrayBuffer>;
}

// The page's types know no Worker's scope.
const scope: WorkerScope = self;
let borders: Borders | undefined;

scope.addEventListener("message", ({ data }) => {
  const fail = (error: unknown): void => {
    const text = error instanceof Error ? error.message : String(error);
    scope.postMessage({ kind: "failed", text });
  };
  const work = data.kind === "read" ? read(data.url) : build(data);
  work.then((report) => scope.postMessage(report), fail);
});

async function read(url: string): Promise<BuildReport> {
  const rings = new PieceList();
  const names: string[] = [];
  const parts: Uint32Array[] = [];
  let count = 0;
  const reader = new BorderReader({
    onRing: (country, ring, places) => {
      rings.add(count, places - 1, country);
      parts.push(ring.slice(0, PLACE_WORDS * places));
      count += places;
    },
    onCountry: (name) => void names.push(name),
  });
  const response = await fetch(url);
  const stream = response.body?.getReader();
  if (!response.ok || stream === undefined)
    throw new Error(`Cannot load the borders: the server answered ${response.status} for ${url}`);
  for (;;) {
    const { done, value } = await stream.read();
    if (done) break;
    reader.push(value);
    scope.postMessage({ kind: "progress", text: `${count.toLocaleString("en")} places read` });
  }
  reader.end();
  const places = new Uint32Array(PLACE_WORDS * count);
  let at = 0;
  for (const part of parts) {
    places.set(part, at);
    at += part.length;
  }
  borders = { rings, names, places };
  return { kind: "read", placeBytes: places.byteLength };
}

async function build(order: BuildOrder & { readonly kind: "build" }): Promise<BuildReport> {
  if (borders === undefined) throw new Error("There are no borders; read them first");
  const { rings, names, places } = borders;
  const text = `building a tree over ${rings.edges.toLocaleString("en")} borders`;
  scope.postMessage({ kind: "progress", text });
  const space = AddressSpace.attachSync(order.handle);
  try {
    const tree = new TreeBuilder(space, places, order.nodes, order.leaves).build(rings);
    return { kind: "built", root: tree.root, bytes: tree.nodeBytes + tree.leafBytes, names };
  } finally {
    space.disposeSync();
  }
}
