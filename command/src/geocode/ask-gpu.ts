/**
 * @module The questions on a GPU: nearest-wgsl.ts, piece by piece. WGSL has no sines, so the places
 * on the unit sphere are computed here, beforehand.
 *
 * The clock. A GPU works on copies. They are current when a pass begins: no pass sees a population
 * that had been rewritten before. So the ticks of a piece are read here, before and after its
 * dispatch, and stand for each of its answers. The kernel itself stores nothing that the census
 * stores to, and reads only the cities.
 */

import type { AddressSpace } from "../../../src/index.ts";
import { WebGpuDevice } from "../../../src/webgpu.ts";
import { describeGpu } from "../device-options.ts";
import { openGpu } from "../open-gpus.ts";
import type { Asker } from "./asker.ts";
import {
  ANSWER_AFTER,
  ANSWER_BYTES,
  CONTROL_ANSWERED,
  CONTROL_CLOCK,
  CONTROL_LATEST,
  QUESTION_BYTES,
  QUESTION_UNITS_PER_DEGREE,
  wholePages,
} from "./layout.ts";
import type { GeocodeMap } from "./layout.ts";
import { NEAREST_CODE, NEAREST_ENTRY, NEAREST_GROUP, VECTOR_BYTES } from "./nearest-wgsl.ts";
import { writeUnitVector } from "./sphere.ts";

/** Few enough that the census, which aims at the latest answers, hits what is read. */
const PIECE_QUESTIONS: number = 128 * NEAREST_GROUP;

/** RAM that the questions' places take. */
export function vectorBytes(questionCount: number): number {
  return wholePages(questionCount * VECTOR_BYTES);
}

/** Makes a WebGPU device that answers. Rejects with HmmError, such as ENODEV. */
export async function askGpu(
  space: AddressSpace,
  map: GeocodeMap,
  memoryBytes: number,
): Promise<Asker> {
  const device = await openGpu(WebGpuDevice.create(space, { memoryBytes, name: "geocode" }));
  const kernel = device.kernel({ code: NEAREST_CODE, entryPoint: NEAREST_ENTRY });
  const dispatch = async (args: readonly number[], count: number): Promise<unknown> =>
    await kernel.dispatch(Math.ceil(count / NEAREST_GROUP), { args });
  return {
    description: describeGpu(device),
    answer: async () => {
      const vectors = await writeVectors(space, map);
      for (let first = 0; first < map.questionCount; first += PIECE_QUESTIONS) {
        const end = Math.min(first + PIECE_QUESTIONS, map.questionCount);
        await answerPiece(space, map, { vectors, first, end }, dispatch);
      }
    },
    stats: () => device.statsSync(),
    [Symbol.asyncDispose]: async () => await device[Symbol.asyncDispose](),
  };
}

interface Piece {
  readonly vectors: number;
  readonly first: number;
  readonly end: number;
}

async function answerPiece(
  { u32 }: AddressSpace,
  { nodes, answers, control }: GeocodeMap,
  { vectors, first, end }: Piece,
  dispatch: (args: readonly number[], count: number) => Promise<unknown>,
): Promise<void> {
  const before = u32.atomicLoad(control + CONTROL_CLOCK);
  await dispatch([nodes, vectors, answers, first, end, before], end - first);
  const after = u32.atomicLoad(control + CONTROL_CLOCK);
  for (let question = first; question < end; question++)
    u32.store(answers + question * ANSWER_BYTES + ANSWER_AFTER, after);
  u32.atomicStore(control + CONTROL_LATEST, end - 1);
  u32.atomicStore(control + CONTROL_ANSWERED, end);
}

/** Maps the questions' places on the unit sphere: x, y and z, f64. */
async function writeVectors(space: AddressSpace, map: GeocodeMap): Promise<number> {
  const { questionCount } = map;
  const questions = new Int32Array((questionCount * QUESTION_BYTES) / 4);
  await space.read(map.questions, new Uint8Array(questions.buffer));
  const vectors = new Float64Array((questionCount * VECTOR_BYTES) / 8);
  for (let question = 0; question < questionCount; question++) {
    const longitude = questions[2 * question]! / QUESTION_UNITS_PER_DEGREE; // two each
    const latitude = questions[2 * question + 1]! / QUESTION_UNITS_PER_DEGREE;
    writeUnitVector(longitude, latitude, vectors, 3 * question);
  }
  const address = await space.mmap(vectorBytes(questionCount));
  await space.write(address, new Uint8Array(vectors.buffer));
  return address;
}
