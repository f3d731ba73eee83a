/**
 * @module A device's owner dies while a Worker is on its way to become a thread of the device: it
 * becomes one, and the device stays for it, or it hears that the device is gone.
 */

import { Cell } from "../../../../src/checker/primitives/program.ts";
import { harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import type { DevicePlace } from "../../../../src/devices/service/device-list.ts";
import { DeviceRecord } from "../../../../src/devices/service/device-record.ts";
import { joinDevice, leaveDevice } from "../../../../src/devices/software/device-state.ts";
import { Hmm } from "../../../../src/hmm/hmm-struct.ts";
import { POISON_FREE } from "../../../../src/memory/layout/poison.ts";
import { selectAgent } from "../../../../src/sync/runners/agents.ts";
import { ENODEV } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { makeDevice } from "./stage.ts";

interface World {
  readonly place: DevicePlace;
  /** What the device's mirror is a part of. */
  readonly hmmAt: number;
  /** What the owner does until it dies. */
  readonly idles: Cell;
}

type Body = (world: World, harness: HmmHarness) => Task<unknown>;

/** The set-up makes the device in the name of the first task's thread. */
function makeWorld(harness: HmmHarness): World {
  const { memory, heap } = harness.machine;
  const self = memory.agentId;
  selectAgent(memory, 1);
  const { record } = makeDevice(harness, 1);
  selectAgent(memory, self);
  const idles = new Cell(memory, harness.run(heap.allocWords(512)), "idles");
  return { place: { recordAt: record.at, serial: record.serial }, hmmAt: harness.mm.hmm, idles };
}

/** A device that is gone has let go of the space, whose only mirror it had. */
function checkHmm({ hmmAt }: World, harness: HmmHarness): void {
  if (harness.accounting().includes("softwareDevice")) return;
  const references = harness.machine.memory.words[hmmAt + Hmm.offset.refs];
  assert(
    references === 0 || references === POISON_FREE,
    `the device is gone, and ${references} references of its hmm are not`,
  );
}

function* join({ place }: World, { machine }: HmmHarness): Task<void> {
  const joined = yield* joinDevice(machine, place);
  if (typeof joined === "number") assert(joined === ENODEV, `joining was answered ${joined}`);
  else yield* leaveDevice(machine, joined.record, joined.slot);
}

/** Believes the message. */
function* joinUnasked({ place }: World, { machine }: HmmHarness): Task<void> {
  yield* DeviceRecord.at(machine.memory, place.recordAt).refs.get();
}

function make(name: string, summary: string, body: Body, isTwin: boolean): AnyScenario {
  return harnessScenario<World>({
    name,
    summary,
    exploration: { deaths: 1, engine: "bounded", preemptions: 2 },
    ...(isTwin ? { expects: "use-after-free" } : {}),
    harness: { pages: 1 },
    killable: ["owner"],
    setup: makeWorld,
    tasks: {
      *owner({ idles }) {
        yield* idles.load();
      },
      join: body,
    },
    check: checkHmm,
  });
}

const NAME = "coverage/devices/death/owner-vs-join";

export const joining: readonly Covered[] = [
  {
    layer: "devices",
    scenario: make(
      NAME,
      "A device's owner dies while a thread joins the device, and leaves it again.",
      join,
      false,
    ),
    twins: [
      make(
        `${NAME}/unasked`,
        "The thread believes that the device is where it was told.",
        joinUnasked,
        true,
      ),
    ],
    runs: {
      owner: ["sync/death/reaper.reapTask", "devices/software/device-state.forgetDead"],
      join: [
        "devices/service/device-list.findDevice",
        "devices/service/device-list.delistDevice",
        "devices/software/device-state.putDevice",
      ],
    },
  },
];
