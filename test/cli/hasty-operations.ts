/**
 * The operations of the fuzzer with a mistake: a driver that does not ask under its lock whether
 * the range is still valid.
 */

import { HARNESS_PAGE } from "../../src/checker/harness/hmm-harness.ts";
import { HARNESS_TABLE_PAGES } from "../../src/checker/harness/harness-device.ts";
import type { OperationTable } from "../../command/src/fuzz/fuzz-stage.ts";
import { operations as shipped } from "../../command/src/fuzz/operations.ts";
import { DONE_TRUE } from "../../src/sync/tasks/task.ts";

export const operations: OperationTable = {
  ...shipped,
  serve: {
    ...shipped.serve,
    *perform(stage, _mm, { task, startPage, pages, call }) {
      const end = Math.min(startPage + pages, HARNESS_PAGE + HARNESS_TABLE_PAGES);
      if (startPage < HARNESS_PAGE || startPage >= end) return 0;
      const options = { write: call.write === true, isValid: () => DONE_TRUE };
      return yield* stage.deviceOf(task).serve(startPage, end - startPage, options);
    },
  },
};
