/** A scenario that takes far longer than any test waits: for what happens when it is stopped. */

import { defineScenario } from "../../src/checker/scenario.ts";
import type { AnyScenario } from "../../src/checker/scenario.ts";
import { CONTROL_WORDS } from "../../src/sync/control-block.ts";
import type { SharedMemory } from "../../src/sync/shared-memory.ts";
import { access } from "../../src/sync/tasks/task.ts";
import type { Task } from "../../src/sync/tasks/task.ts";

function* write(memory: SharedMemory, times: number): Task<void> {
  for (let i = 0; i < times; i++) {
    yield* access(memory, "write", CONTROL_WORDS, 1, "word");
    memory.words[CONTROL_WORDS] = i;
  }
}

const scenario: AnyScenario = defineScenario<SharedMemory>({
  name: "long",
  setup: (memory) => memory,
  tasks: {
    a: (memory) => write(memory, 8),
    b: (memory) => write(memory, 8),
    c: (memory) => write(memory, 8),
    d: (memory) => write(memory, 8),
  },
});
export default scenario;
