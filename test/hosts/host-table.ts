/** @module The table of hosts in README.md: read, and written. */

import { readFileSync, writeFileSync } from "node:fs";
import { rootPath } from "../installed-tools.ts";

/** One line of the table. */
export interface HostRow {
  readonly host: string;
  readonly version: string;
  /** How many cases of the host test passed. */
  readonly cases: number;
}

const README = `${rootPath}README.md`;
const TABLE = /(<!-- hosts: npm run hosts -->\n)([^]*?)(<!-- \/hosts -->)/;

function tableIn(text: string): string {
  const table = TABLE.exec(text)?.[2];
  if (table === undefined) throw new Error("README.md has no table of hosts");
  return table;
}

/** The rows that README.md has. */
export function readHostRows(): HostRow[] {
  return [
    ...tableIn(readFileSync(README, "utf8")).matchAll(/^\| (\S.*?) \| (\S+) \| (\d+) \|$/gm),
  ].map(([, host = "", version = "", cases = ""]) => ({ host, version, cases: Number(cases) }));
}

/** Puts the rows into README.md. */
export function writeHostRows(rows: readonly HostRow[]): void {
  const lines = rows.map(({ host, version, cases }) => `| ${host} | ${version} | ${cases} |\n`);
  const table = `| host | version | cases passed |\n| --- | --- | --- |\n${lines.join("")}`;
  const text = readFileSync(README, "utf8");
  tableIn(text);
  writeFileSync(
    README,
    text.replace(TABLE, (_, start, __, end) => `${start}${table}${end}`),
  );
}
