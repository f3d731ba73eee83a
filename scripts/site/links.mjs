/**
 * @module Links of the documents, as the site has them. A document links to another one by its path
 * in the repository. On the site both are pages, at other paths; what is no page there, such as a
 * source file, stays as text.
 */

import { posix } from "node:path";

const LINK = /\[([^\]]*)\]\((?!https?:|mailto:)([^)#\s]*)(#[^)\s]*)?\)/g;

/**
 * @param {string} text Of a document.
 * @param {{ source: string, path: string }} from The document, and its page.
 * @param {(document: string, fragment: string) => string | undefined} pageOf The page that has a
 *   part of a document, with what follows `#`; undefined for what is no page.
 * @returns {string}
 */
export function relink(text, from, pageOf) {
  return text.replaceAll(LINK, (_, /** @type {string} */ label, /** @type {string} */ to, hash) => {
    const fragment = typeof hash === "string" ? hash.slice(1) : "";
    const target = to === "" ? from.source : posix.join(posix.dirname(from.source), to);
    const page = pageOf(target, fragment);
    if (page === undefined) return label.startsWith("`") ? label : `\`${label}\``;
    const [path = "", part] = page.split("#");
    const folder = posix.dirname(from.path);
    const relative = path === from.path ? "" : `${posix.relative(folder, path)}.md`;
    return `[${label}](${dotted(relative)}${part ? `#${part}` : ""})`;
  });
}

/** @param {string} path */
function dotted(path) {
  return path === "" || path.startsWith(".") ? path : `./${path}`;
}

/**
 * The part of an address that a heading gets: as GitHub makes it, and as the site does (its
 * `slugify` is this function), so that links hold in both.
 * @param {string} heading
 * @returns {string}
 */
export function fragmentOf(heading) {
  return heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .replaceAll(" ", "-");
}
