/**
 * @module A shifted clock: while a function runs, `Date` and `performance.now()` return another
 * time of day. So a task that reads the clock behaves differently when an execution is repeated a
 * moment later.
 *
 * C1. The function runs to its end without waiting, so no other code sees the shifted time.
 */

interface Clocks {
  Date: typeof Date;
  readonly performance: { now(): number };
}

/**
 * Runs `body` with every clock `shiftMs` ahead. If the host forbids that, the clocks are unchanged.
 */
export function withShiftedClock(shiftMs: number, body: () => void): void {
  const clocks: Clocks = globalThis;
  const { Date: realDate, performance } = clocks;
  const realNow = Object.getOwnPropertyDescriptor(performance, "now");
  const now = performance.now.bind(performance);
  const dateNow = (): number => realDate.now() + Math.round(shiftMs);
  const shiftedDate = new Proxy(realDate, {
    construct: (target, given: unknown[], made): object =>
      Reflect.construct(target, given.length === 0 ? [dateNow()] : given, made) as object,
    apply: (): string => new realDate(dateNow()).toString(),
    get: (target, name, self): unknown =>
      name === "now" ? dateNow : Reflect.get(target, name, self),
  });
  const isShifted = Reflect.defineProperty(performance, "now", {
    value: () => now() + shiftMs,
    configurable: true,
    writable: true,
  });
  const isDateShifted = Reflect.set(clocks, "Date", shiftedDate);
  try {
    body();
  } finally {
    if (isDateShifted) clocks.Date = realDate;
    if (isShifted && realNow !== undefined) Reflect.defineProperty(performance, "now", realNow);
    else if (isShifted) Reflect.deleteProperty(performance, "now");
  }
}
