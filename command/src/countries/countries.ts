/**
 * @module The countries job. The borders of all countries are streamed into an address space and
 * become a quadtree, linked by pointers. A device with memory for a part of it tells for each place
 * of a raster which country it lies in. Then every answer is checked against others.
 */

import { AddressSpace } from "../../../src/index.ts";
import { UsageError } from "../exit-status.ts";
import { type ClassifyReport, type DeviceChoice, classify } from "./classify.ts";
import { PLACE_BYTES, PLACE_TEXT_BYTES_MIN, loadBorders, readBorders } from "./load-borders.ts";
import type { Borders } from "./load-borders.ts";
import type { MapSource } from "./map-source.ts";
import { type Box, type Raster, makeRaster, tilesOf } from "./raster.ts";
import { RowCheck } from "./row-check.ts";
import { StageClock } from "../stage-clock.ts";
import { type Room, type Tree, TreeBuilder, roomsFor } from "./tree-builder.ts";

export type CountriesStage = "reading" | "building" | "classifying" | "checking";

export interface CountriesOptions {
  readonly source: MapSource;
  readonly box: Box;
  /** Columns of the raster. */
  readonly width: number;
  readonly choice: DeviceChoice;
  /** Called as the job goes on. */
  readonly onProgress?: ((stage: CountriesStage, done: number, total: number) => void) | undefined;
  /** Called between classifying and checking: a test falsifies answers in here. */
  readonly onClassified?: ((answers: Uint32Array) => void) | undefined;
}

/** What the check found. */
export interface CountriesVerdict {
  readonly checked: number;
  readonly wrong: number;
  /** Of the first wrong ones, in words. */
  readonly examples: readonly string[];
}

export interface CountriesResult {
  readonly options: CountriesOptions;
  readonly raster: Raster;
  readonly names: readonly string[];
  readonly rings: number;
  readonly places: number;
  readonly tree: Tree;
  /** Number of the country of each place, row by row, counted from 1; 0: none. */
  readonly answers: Uint32Array;
  readonly classified: ClassifyReport;
  readonly verdict: CountriesVerdict;
  /** Every answer was checked, and none was wrong. */
  readonly verified: boolean;
  readonly stageSeconds: (stage: CountriesStage) => number;
  readonly seconds: number;
}

/** For page tables of devices, and for files of a few borders. */
const SPARE_BYTES: number = 32 * 2 ** 20;
const PAGE_BYTES = 4096;
const EXAMPLES_MAX = 5;

/**
 * Does the whole job. Rejects with UsageError when the file is no map, with HmmError when the
 * address space or the device fails; wrong answers are a result.
 */
export async function countries(options: CountriesOptions): Promise<CountriesResult> {
  const { source, onProgress = () => {} } = options;
  const raster = makeRaster(options.box, options.width);
  const clock = new StageClock<CountriesStage>();
  // What is never touched takes no RAM: only the host's addresses are reserved for it.
  const placeRoom = wholePages((source.lengthBytes / PLACE_TEXT_BYTES_MIN) * PLACE_BYTES);
  const { nodeBytes, leafBytes } = roomsFor(placeRoom);
  const nodeRoom = wholePages(nodeBytes + SPARE_BYTES);
  const leafRoom = wholePages(leafBytes + SPARE_BYTES);
  const pixels = raster.width * raster.height;
  const ramBytes = 2 * placeRoom + nodeRoom + leafRoom + wholePages(8 * pixels) + SPARE_BYTES;
  await using space = await AddressSpace.create({ ramBytes });
  const places = await space.mmap(placeRoom);
  const borders = await loadBorders(space, places, source.path, (done) =>
    onProgress("reading", done, source.lengthBytes),
  );
  clock.end("reading");
  const nodes = { address: await space.mmap(nodeRoom), lengthBytes: nodeRoom };
  const leaves = { address: await space.mmap(leafRoom), lengthBytes: leafRoom };
  const tree = await buildTree(space, places, borders, { nodes, leaves }, (done, total) =>
    onProgress("building", done, total),
  );
  await space.munmap(places, placeRoom);
  clock.end("building");
  const map = {
    root: tree.root,
    xs: await copyIn(space, raster.xs),
    ys: await copyIn(space, raster.ys),
    answers: await space.mmap(wholePages(4 * pixels)),
  };
  const classified = await classify(space, map, raster, options.choice, (done) =>
    onProgress("classifying", done, tilesOf(raster)),
  );
  const answers = new Uint32Array(pixels);
  await space.read(map.answers, new Uint8Array(answers.buffer));
  clock.end("classifying");
  options.onClassified?.(answers);
  const verdict = await check(source, raster, answers, (done) =>
    onProgress("checking", done, source.lengthBytes),
  );
  clock.end("checking");
  return {
    options,
    raster,
    names: borders.names,
    rings: borders.rings.length,
    places: borders.places,
    tree,
    answers,
    classified,
    verdict,
    verified: verdict.wrong === 0 && verdict.checked === pixels,
    stageSeconds: clock.secondsOf.bind(clock),
    seconds: clock.total(),
  };
}

async function buildTree(
  space: AddressSpace,
  places: number,
  borders: Borders,
  { nodes, leaves }: { readonly nodes: Room; readonly leaves: Room },
  onEdges: (done: number, total: number) => void,
): Promise<Tree> {
  const lengthBytes = Math.max(1, borders.places) * PLACE_BYTES;
  using view = await space.view(places, lengthBytes, "read");
  const total = borders.rings.edges;
  let done = 0;
  const onLeaf = (edges: number): void => {
    done += edges;
    onEdges(Math.min(done, total), total);
  };
  try {
    return new TreeBuilder(space, view.as(Uint32Array), nodes, leaves, onLeaf).build(borders.rings);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(
      `Cannot use the map: ${error.message}, for its borders cross in too many places; give another`,
    );
  }
}

async function copyIn(space: AddressSpace, numbers: Uint32Array): Promise<number> {
  const address = await space.mmap(wholePages(numbers.byteLength));
  await space.write(address, new Uint8Array(numbers.buffer));
  return address;
}

async function check(
  source: MapSource,
  raster: Raster,
  answers: Uint32Array,
  onBytes: (done: number) => void,
): Promise<CountriesVerdict> {
  const rows = new RowCheck(raster);
  await readBorders(source.path, rows, onBytes);
  const examples: string[] = [];
  let wrong = 0;
  const { width, height } = raster;
  for (let row = 0; row < height; row++) {
    const expected = rows.answersOf(row);
    for (let column = 0; column < width; column++) {
      const answer = answers[row * width + column];
      if (answer === expected[column]) continue;
      wrong++;
      if (examples.length < EXAMPLES_MAX)
        examples.push(`row ${row}, column ${column}: ${answer}, and not ${expected[column]}`);
    }
  }
  return { checked: width * height, wrong, examples };
}

function wholePages(lengthBytes: number): number {
  return Math.max(1, Math.ceil(lengthBytes / PAGE_BYTES)) * PAGE_BYTES;
}
