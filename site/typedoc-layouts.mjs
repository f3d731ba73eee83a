/**
 * @module A plugin of TypeDoc: a field of a struct in shared memory gets the note of its layout,
 * and what guards it. The layouts are what the entry of the built library exports, under the name
 * of the interface.
 */

import { Comment, Converter, ReflectionKind } from "typedoc";
import * as driver from "../dist/src/driver.js";

/**
 * The fields of the layout that is exported as `name`, by name.
 * @param {string} name
 * @returns {Map<string, { note: string, guardedBy: string }>}
 */
function fieldsOf(name) {
  const layout = Reflect.get(driver, name);
  const fields = Array.isArray(layout?.fields) ? layout.fields : [];
  return new Map(fields.map((field) => [field.name, field]));
}

/** @param {string} text */
function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** @param {import("typedoc").Application} app */
export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, (context) => {
    for (const owner of context.project.getReflectionsByKind(ReflectionKind.Interface)) {
      const fields = fieldsOf(owner.name);
      for (const member of owner.children ?? []) {
        const field = fields.get(member.name);
        if (field === undefined || member.comment !== undefined) continue;
        const guard = field.guardedBy === "itself" ? "" : ` Guarded by: ${field.guardedBy}.`;
        member.comment = new Comment([{ kind: "text", text: sentence(field.note) + guard }]);
      }
    }
  });
}
