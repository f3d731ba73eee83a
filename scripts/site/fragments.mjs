/**
 * @module Links of the built site that name a part of a page (`#part`): the part must be there.
 * The site's builder refuses a link to a page that is missing; it does not look at parts. A checker
 * of links was tried, linkinator: it takes minutes, for it reads the page anew for each link to it,
 * and every page links to every other one in its sidebar.
 */

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, posix } from "node:path";

const ID = /\sid="([^"]+)"/g;
const LINK = /<a\s[^>]*?href="([^"]*)#([^"]+)"/g;

/**
 * @param {string} folder Of the built site.
 * @returns {string[]} A line for each link that leads to no part of its page.
 */
export function missingFragments(folder) {
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((path) => path.replaceAll("\\", "/"))
    .filter((path) => path.endsWith(".html"));
  const texts = new Map(paths.map((path) => [path, readFileSync(join(folder, path), "utf8")]));
  const ids = new Map(
    [...texts].map(([path, text]) => [
      path,
      new Set([...text.matchAll(ID)].map((match) => decodeEntities(match[1] ?? ""))),
    ]),
  );
  /** @type {string[]} */
  const missing = [];
  for (const [path, text] of texts) {
    for (const [, to = "", part = ""] of text.matchAll(LINK)) {
      if (/^\w+:/.test(to)) continue;
      const target =
        to === "" ? path : fileOf(folder, posix.join("/", posix.dirname(path), to), to);
      const id = decodeURIComponent(decodeEntities(part));
      if (ids.get(target)?.has(id) !== true) missing.push(`${path} links to ${to}#${part}`);
    }
  }
  return [...new Set(missing)];
}

/**
 * @param {string} folder
 * @param {string} relative Where a link leads to, if it is relative.
 * @param {string} to
 */
function fileOf(folder, relative, to) {
  const path = (to.startsWith("/") ? to : relative).replace(/^\//, "");
  const isFolder = existsSync(join(folder, path)) && statSync(join(folder, path)).isDirectory();
  if (isFolder || path === "") return posix.join(path, "index.html");
  return path.endsWith(".html") ? path : `${path}.html`;
}

/** @param {string} text */
function decodeEntities(text) {
  return text.replaceAll("&#39;", "'").replaceAll("&quot;", '"').replaceAll("&amp;", "&");
}
