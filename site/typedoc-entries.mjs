/**
 * @module A plugin of TypeDoc: each entry of the library gets the name by which it is imported, and
 * the text of its head. A head here is `@module NAME` and sentences below it; TypeDoc takes a name
 * only from a tag that has nothing else, so it would call an entry by its file.
 */

import { Converter, ReflectionKind } from "typedoc";

/** Before TypeDoc's own, which takes the tag away. */
const FIRST = 1000;

/** @param {import("typedoc").Application} app */
export function load(app) {
  const nameEntry = (_context, entry) => {
    if (!entry.kindOf(ReflectionKind.SomeModule)) return;
    const tag = entry.comment?.getTag("@module");
    if (tag === undefined) return;
    const text = tag.content.map((part) => part.text).join("");
    const [name = "", ...rest] = text.split("\n");
    entry.name = name.trim();
    entry.comment.summary = [{ kind: "text", text: rest.join("\n") }];
    entry.comment.removeTags("@module");
  };
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, nameEntry, FIRST);
}
