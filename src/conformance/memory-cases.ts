/**
 * @module conformance/memory-cases
 * A device that has pages of its own, and one that has pages to itself for a while.
 */

import { EINVAL, PAGE_BYTES, errnoName } from "../driver-interface.ts";
import { type ConformanceCase, demand } from "./demands.ts";
import type { DriverUnderTest } from "./driver-under-test.ts";
import { mapWords, onStage } from "./mapping-cases.ts";
import type { ConformanceOptions, Stage } from "./stage.ts";

type Migrate = NonNullable<DriverUnderTest["migrate"]>;
type MakeExclusive = NonNullable<DriverUnderTest["makeExclusive"]>;

/** Pages of the range that are the device's own afterwards. */
async function moved(
  stage: Stage,
  migrate: Migrate,
  address: number,
  pages: number,
  mirror = stage.mirror,
): Promise<number> {
  const count = await stage.run(migrate(mirror, address / PAGE_BYTES, pages), "a migration");
  demand(count >= 0, `a migration answers ${errnoName(count)}`);
  return count;
}

async function comesBack(stage: Stage, migrate: Migrate): Promise<void> {
  const { space } = stage;
  const address = await mapWords(stage, 3, 30);
  // it has translations to RAM, which must go
  for (let i = 0; i < 3; i++) await stage.word(address + i * PAGE_BYTES);
  const { residentBytes } = await space.stats();
  const count = await moved(stage, migrate, address, 3);
  demand(count === 3, `of 3 pages ${count} are the device's own after a migration`);
  const after = await space.stats();
  demand(after.residentBytes === residentBytes, "pages on the device do not count as resident");
  for (let i = 0; i < 3; i++)
    await stage.requireWord(address + i * PAGE_BYTES, 30 + i, "of a page of its own");
  for (let i = 0; i < 3; i++) {
    const value = space.u32.load(address + i * PAGE_BYTES);
    demand(value === 30 + i, `the CPU reads ${value}, not ${30 + i}, of a page of the device`);
    space.u32.store(address + i * PAGE_BYTES, 40 + i);
    await stage.requireWord(address + i * PAGE_BYTES, 40 + i, "after the CPU's touch");
  }
}

async function clearsEmpty(stage: Stage, migrate: Migrate): Promise<void> {
  const { space } = stage;
  // fills the device's frames with something, and frees them
  const filled = await mapWords(stage, 4, 0x1234);
  await moved(stage, migrate, filled, 4);
  await space.munmap(filled, 4 * PAGE_BYTES);
  const fresh = await space.mmap(4 * PAGE_BYTES);
  await moved(stage, migrate, fresh, 4);
  for (let i = 0; i < 4; i++) {
    await stage.requireWord(fresh + i * PAGE_BYTES, 0, "of an empty page");
    demand(space.u32.load(fresh + i * PAGE_BYTES) === 0, "the CPU reads an empty page as full");
  }
}

async function leavesPinned(stage: Stage, migrate: Migrate): Promise<void> {
  const { space } = stage;
  const address = await mapWords(stage, 2, 50);
  {
    using view = await space.view(address, PAGE_BYTES, "read");
    const count = await moved(stage, migrate, address, 2);
    demand(count === 1, `with one page of two pinned, ${count} are the device's own`);
    demand(view.as(Uint32Array)[0] === 50, "a view over a page that was to be moved has lost it");
  }
  await stage.requireWord(address, 50, "of a page that stayed");
  const hole = await stage.run(
    migrate(stage.mirror, address / PAGE_BYTES + 100, 1),
    "a migration of a hole",
  );
  demand(hole === EINVAL, `a migration of a hole answers ${hole}, not EINVAL`);
}

async function leavesOthers(stage: Stage, migrate: Migrate): Promise<void> {
  const address = await mapWords(stage, 2, 60);
  await moved(stage, migrate, address, 1);
  await stage.withAnother(async (other) => {
    const count = await moved(stage, migrate, address, 2, other);
    demand(count === 1, `of two pages, one of them another device's, ${count} are its own`);
    const value = await stage.word(address, other);
    demand(value === 60, `a device reads ${value} of another device's page`);
  });
  await stage.requireWord(address, 60, "after another device");
  await stage.requireWord(address + PAGE_BYTES, 61, "of a page that another device had");
}

async function isFreedAtTheEnd(stage: Stage, migrate: Migrate): Promise<void> {
  const { space } = stage;
  const before = (await space.stats()).residentBytes;
  const address = await mapWords(stage, 4, 70);
  await moved(stage, migrate, address, 4);
  await space.munmap(address, 2 * PAGE_BYTES);
  await stage.withAnother(async () => {});
  const rest = address + 2 * PAGE_BYTES;
  await stage.requireWord(rest, 72, "of a page that stayed mapped");
  await space.munmap(rest, 2 * PAGE_BYTES);
  const after = (await space.stats()).residentBytes;
  demand(after === before, `${after - before} bytes are resident of what was unmapped`);
}

async function exclusiveEnds(stage: Stage, makeExclusive: MakeExclusive): Promise<void> {
  const address = await mapWords(stage, 1, 80);
  const errno = await stage.run(
    makeExclusive(stage.mirror, address / PAGE_BYTES, 1),
    "asking for exclusive access",
  );
  demand(errno === 0, `exclusive access is answered ${errnoName(errno)}`);
  await stage.requireWord(address, 80, "of a page that is its alone");
  stage.space.u32.store(address, 81);
  await stage.requireWord(address, 81, "after the CPU's touch");
}

/** The cases of this module: those for what the driver can do. */
export function memoryCases(
  subject: DriverUnderTest,
  options: ConformanceOptions,
): ConformanceCase[] {
  const cases: ConformanceCase[] = [];
  const add = (
    name: string,
    demands: ConformanceCase["demands"],
    use: (stage: Stage) => Promise<void>,
  ): void => void cases.push({ name, demands, run: () => onStage(subject, options, use) });
  const own = subject.migrate?.bind(subject);
  if (own !== undefined) {
    add(
      "brings a page of its own back at a touch of the CPU",
      ["migrate-to-ram", "own-tables", "accounting"],
      (stage) => comesBack(stage, own),
    );
    add("has an empty page as zeros", ["clear-empty"], (stage) => clearsEmpty(stage, own));
    add("leaves what cannot be moved", ["skip-unmarked"], (stage) => leavesPinned(stage, own));
    add("leaves another device's pages alone", ["owner"], (stage) => leavesOthers(stage, own));
    add("has its pages free again at the end", ["accounting"], (stage) =>
      isFreedAtTheEnd(stage, own),
    );
  }
  const alone = subject.makeExclusive?.bind(subject);
  if (alone !== undefined) {
    add("loses exclusive access at a touch of the CPU", ["exclusive-ends"], (stage) =>
      exclusiveEnds(stage, alone),
    );
  }
  return cases;
}
