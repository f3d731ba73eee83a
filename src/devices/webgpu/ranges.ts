/**
 * @module devices/webgpu/ranges
 * The direct ranges of a dispatch: which pages they are, and whether they fit. Of the device's
 * Worker; rows.ts has where they lie.
 */

import { HmmError, PAGE_BYTES } from "../../driver-interface.ts";
import type { BindingOrder } from "./messages.ts";
import type { WantedRow } from "./rows.ts";
import type { BoundVariable } from "./wgsl/bindings.ts";

export type RangeOrder = BindingOrder & { readonly kind: "range" };

/** Offset of a range in its row: a binding's offset is a multiple of 256. */
export function offsetInRow({ address }: RangeOrder): number {
  return address % PAGE_BYTES;
}

export function firstPageOf({ address }: RangeOrder): number {
  return Math.floor(address / PAGE_BYTES);
}

/** Throws HmmError EINVAL, ENOMEM. */
export function rowsFor(
  orders: Readonly<Record<string, BindingOrder>>,
  variables: readonly BoundVariable[],
  framesMax: number,
): WantedRow[] {
  const rows: WantedRow[] = [];
  let pages = 0;
  for (const [name, order] of Object.entries(orders)) {
    if (order.kind !== "range") continue;
    const kind = variables.find((one) => one.name === name)?.kind;
    if (kind !== "read" && kind !== "write") {
      const why = `the kernel has no variable "${name}" of var<storage> with a @binding`;
      throw new HmmError("EINVAL", "dispatch", `Cannot bind a range: ${why}`);
    }
    const startPage = firstPageOf(order);
    const endPage = Math.ceil((order.address + order.lengthBytes) / PAGE_BYTES);
    const twin = rows.find(
      (row) => row.startPage < endPage && startPage < row.startPage + row.pages,
    );
    if (twin !== undefined) {
      const why = `"${name}" has a page in common with another range; give ranges of whole pages`;
      throw new HmmError("EINVAL", "dispatch", `Cannot bind a range: ${why}`);
    }
    rows.push({ startPage, pages: endPage - startPage, isWrite: kind === "write" });
    pages += endPage - startPage;
  }
  if (pages <= framesMax) return rows;
  const [needed, has] = [pages * PAGE_BYTES, framesMax * PAGE_BYTES];
  const why = `they have ${needed} bytes in whole pages, and the device has ${has} for them`;
  const text = `Cannot bind the ranges: ${why}; create it with more rangeBytes`;
  throw new HmmError("ENOMEM", "dispatch", text);
}
