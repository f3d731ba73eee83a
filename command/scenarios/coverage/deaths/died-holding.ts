/**
 * @module A thread that has died with a device's driver lock before a scenario begins: who reaps it
 * repairs what that guards (devices/service/repair-device.ts).
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import {
  AGENTS_USED,
  AGENT_LIVE,
  AGENT_STATE,
  agentRecord,
} from "../../../../src/sync/control-block.ts";
import { declareDead } from "../../../../src/sync/death/death.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { selectAgent } from "../../../../src/sync/runners/agents.ts";
import type { DeviceWorld } from "../devices/stage.ts";

/** Of a thread that no task plays. */
const DEAD = 7;

/** For the end of a set-up. */
export function diedHolding({ record }: DeviceWorld, { machine }: HmmHarness): void {
  const { memory } = machine;
  const self = memory.agentId;
  const state = agentRecord(DEAD) + AGENT_STATE;
  memory.words[AGENTS_USED] = DEAD + 1;
  memory.words[state] = AGENT_LIVE;
  selectAgent(memory, DEAD);
  const { done, value } = record.driverLock.tryLock().next();
  assert(done === true && value, "the lock is free, and was not taken");
  selectAgent(memory, self);
  declareDead(memory, DEAD, AGENT_LIVE);
}
