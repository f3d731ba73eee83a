/**
 * @module docs/EXHIBITS.md as a chapter of the site: the introduction is its first page, and each
 * bug has a page of its own.
 */

import { fragmentOf } from "./links.mjs";

/**
 * @typedef {object} ExhibitPage
 * @property {string} title
 * @property {string} group The bugs that it stands with.
 * @property {string} name Of its page, and of its heading in the document.
 * @property {string} text
 */

const GROUP = /^## (.+)$/;
const BUG = /^### (.+)$/;

/**
 * @param {string} text Of docs/EXHIBITS.md.
 * @returns {{ introduction: string, exhibits: ExhibitPage[] }}
 */
export function splitExhibits(text) {
  /** @type {string[]} What a group says of all its bugs is here, too. */
  const introduction = [];
  /** @type {{ title: string, group: string, lines: string[] }[]} */
  const bugs = [];
  let lines = introduction;
  let group = "";
  let isFenced = false;
  for (const line of text.split("\n")) {
    if (line.startsWith("```")) isFenced = !isFenced;
    const heading = isFenced ? null : GROUP.exec(line);
    const bug = isFenced ? null : BUG.exec(line);
    if (heading?.[1] !== undefined) {
      group = heading[1];
      lines = introduction;
    }
    if (bug?.[1] === undefined) {
      lines.push(line);
    } else {
      lines = [`# ${bug[1]}`];
      bugs.push({ title: bug[1], group, lines });
    }
  }
  const exhibits = bugs.map((bug) => ({
    title: bug.title,
    group: bug.group,
    name: fragmentOf(bug.title),
    text: bug.lines.join("\n"),
  }));
  return { introduction: introduction.join("\n"), exhibits };
}
