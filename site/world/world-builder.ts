/**
 * @module A Worker that fetches the borders, piece by piece, and builds their tree in the address
 * space. A Worker may block, as the page may not.
 */

import { AddressSpace, type AddressSpaceHandle } from "hmm-ts";
import { BorderReader } from "../../command/src/countries/borders.ts";
import { PLACE_WORDS } from "../../command/src/countries/layout.ts";
import { PieceList } from "../../command/src/countries/piece-list.ts";
import { type Room, TreeBuilder } from "../../command/src/countries/tree-builder.ts";

export interface BuildOrder {
  readonly handle: AddressSpaceHandle;
  readonly url: string;
  readonly nodes: Room;
  readonly leaves: Room;
}

export type BuildReport =
  | { readonly kind: "progress"; readonly text: string }
  | { readonly kind: "failed"; readonly text: string }
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

// The page's types know no Worker's scope.
const scope: WorkerScope = self;

scope.addEventListener("message", ({ data }) => {
  const fail = (error: unknown): void => {
    const text = error instanceof Error ? error.message : String(error);
    scope.postMessage({ kind: "failed", text });
  };
  build(data).then((report) => scope.postMessage(report), fail);
});

async function build({ handle, url, nodes, leaves }: BuildOrder): Promise<BuildReport> {
  const rings = new PieceList();
  const names: string[] = [];
  const parts: Uint32Array[] = [];
  let places = 0;
  const reader = new BorderReader({
    onRing: (country, ring, count) => {
      rings.add(places, count - 1, country);
      parts.push(ring.slice(0, PLACE_WORDS * count));
      places += count;
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
    scope.postMessage({ kind: "progress", text: `${places.toLocaleString("en")} places read` });
  }
  reader.end();
  scope.postMessage({ kind: "progress", text: `building a tree over ${rings.edges} borders` });
  const all = new Uint32Array(PLACE_WORDS * places);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  const space = AddressSpace.attachSync(handle);
  try {
    const tree = new TreeBuilder(space, all, nodes, leaves).build(rings);
    return { kind: "built", root: tree.root, bytes: tree.nodeBytes + tree.leafBytes, names };
  } finally {
    space.disposeSync();
  }
}
