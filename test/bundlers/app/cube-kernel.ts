// A kernel in TypeScript.
import type { TypedAccess } from "hmm-ts/worker";

export function cube(memory: TypedAccess, item: number, [numbers = 0]: readonly number[]): void {
  memory.u32.store(numbers + 4 * item, item ** 3);
}
