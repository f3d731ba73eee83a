/**
 * @module Kernels that are no kernels, modules that cannot be loaded, and a store through a read
 * view, as a page is told of them. Nothing of it may end a Worker or be left as an error on a
 * console.
 */

import { AddressSpace, HmmError, KernelFailure, SoftwareDevice } from "../../src/index.ts";
import { check, checkEqual, pageTest } from "./page-cases.ts";

const PAGE = 4096;

async function failureOf(act: () => Promise<unknown>): Promise<HmmError> {
  try {
    await act();
  } catch (error) {
    if (error instanceof HmmError) return error;
    throw error;
  }
  throw new Error("nothing failed");
}

function moduleOf(source: string): URL {
  return new URL(`data:text/javascript,${encodeURIComponent(source)}`);
}

pageTest(
  "a device refuses what is no kernel, says what is wrong with a module, and lives on",
  async (note) => {
    const space = await AddressSpace.create({ ramBytes: 64 * PAGE });
    const p = await space.mmap(PAGE);
    const device = await SoftwareDevice.create(space, { memoryBytes: 4 * PAGE });
    const dispatch = (source: string): Promise<unknown> =>
      device.kernel({ module: moduleOf(source), exportName: "kernel" }).dispatch(1, { args: [p] });
    const expected: readonly (readonly [source: string, says: RegExp])[] = [
      ["export function (", /does not parse: .*Function statements require a function name/],
      [
        'import { a } from "data:text/javascript,";',
        /does not parse: .*does not provide an export named 'a'/,
      ],
      ['throw new RangeError("at import");', /importing it threw RangeError: at import/],
      ['JSON.parse("{");', /importing it threw SyntaxError: /],
      [
        "export const other = () => 1;",
        /exports nothing of that name; check the name; it exports the functions other/,
      ],
      ["export async function kernel() {}", /it is an async function/],
      ["export function* kernel() {}", /it is a generator function/],
      [
        "export const kernel = () => Promise.reject(new Error('late'));",
        /returned a promise in work item 0/,
      ],
    ];
    for (const [source, says] of expected) {
      const { message } = await failureOf(() => dispatch(source));
      check(says.test(message), `${source}: ${message}`);
      note(message);
    }
    await dispatch("export function kernel() { void Promise.reject(new Error('left')); }").catch(
      () => {},
    );
    let failure: unknown;
    for (let tries = 0; tries < 200 && failure === undefined; tries++) {
      failure = await dispatch("export function kernel() {}").then(
        () => undefined,
        (error: unknown) => error,
      );
    }
    check(
      failure instanceof KernelFailure && /left behind was rejected: left/.test(failure.message),
      String(failure),
    );
    await dispatch("export function kernel(memory, item, [p]) { memory.u32.store(p, 5); }");
    checkEqual(space.u32.load(p), 5, "what the last kernel has stored");
    await device[Symbol.asyncDispose]();
    await space.dispose();
  },
);

pageTest(
  "a store through a read view is told where the view is disposed of, in debug builds",
  async () => {
    const space = await AddressSpace.create({ ramBytes: 64 * PAGE, debug: true });
    const p = await space.mmap(PAGE);
    const view = await space.view(p, PAGE, "read");
    view.bytes[12] = 1;
    const failure = await failureOf(() => view.dispose());
    checkEqual(failure.code, "EPERM", "the code");
    checkEqual(failure.address, p + 12, "the address");
    await (await space.view(p, PAGE, "read")).dispose();
    await space.dispose();
  },
);
