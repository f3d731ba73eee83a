/**
 * @module Places in the code, for reports: file and line of the source, from the stack of an error
 * that is never thrown. It is slow, so only replays use it. If the host applies source maps, its
 * stacks are used as they are. In Node without source maps, the maps beside the compiled files are
 * read here. In a browser the places are in compiled files.
 */

/** One frame of a stack. */
export interface SourcePlace {
  /** Relative to the project, or to the directory that the command was started in. */
  readonly file: string;
  readonly line: number;
  /** The function, "" if it has no name. */
  readonly call: string;
}

interface SourceMapReader {
  findEntry(line: number, column: number): { originalSource?: string; originalLine?: number };
}

interface HostProcess {
  cwd?(): string;
  getBuiltinModule?(name: string): unknown;
}

const FRAMES = 60;
const frame =
  /^\s*at (?:(?:async )?(.*?) \()?((?:file|https?):\/\/[^)]*?|\/[^)]*?|[A-Za-z]:\\[^)]*?):(\d+):(\d+)\)?$/;
const { process: host } = globalThis as { process?: HostProcess };
/** Compiled files stand below the project in .build or dist, derived ones in `stepped` there. */
const ownUrl = import.meta.url; // not in one expression: a bundler would look for such an asset
const projectRoot = new URL("../../../", ownUrl).href.replace(
  /(?:\.build|dist)\/(?:stepped\/)?$/,
  "",
);
const builtFolder = /^(?:\.build|dist)\/(?:stepped\/)?/;
/** The explorer itself. The frames below it are the same in every stack. */
const explorer = /\/checker\/execution\/threads\.[jt]s$/;
/** The watchers, at the top of a stack. */
const watching =
  /\/checker\/(?:steps\/source-places|watch\/plain-accesses|replay\/record-run|every-access)\.[jt]s$/;
const maps = new Map<string, SourceMapReader | undefined>();

/** An error whose stack has the place of the caller. */
export function markPlace(): Error {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = FRAMES;
  const mark = new Error("a place");
  Error.stackTraceLimit = limit;
  return mark;
}

/** The frames of a stack, innermost first, without those of the explorer and the host. */
export function placesOf(stack: string): SourcePlace[] {
  const places: SourcePlace[] = [];
  for (const line of stack.split("\n")) {
    const [, call = "", address, row, column] = frame.exec(line) ?? [];
    if (address === undefined) continue;
    const place = sourceOf(hrefOf(address), Number(row), Number(column));
    if (explorer.test(`/${place.file}`)) break;
    if (
      watching.test(`/${place.file}`) ||
      call === "describe" ||
      /\/sync\/runners\/stepping\/\w+\.[jt]s$/.test(`/${place.file}`)
    )
      continue;
    places.push({ ...place, call: call.replace(/^(?:Object|Array)\.|\.next$|\.?\$steps/g, "") });
  }
  return places;
}

/**
 * The frame to show: the first that is not inside a primitive, an allocator, or the checker.
 */
export function relevantPlace(places: readonly SourcePlace[]): SourcePlace | undefined {
  return (
    places.find(({ file }) => !/^src\/(?:sync|memory|checker)\//.test(file)) ??
    places.find(({ file }) => !/^src\/(?:sync|checker)\//.test(file)) ??
    places.at(-1)
  );
}

/** `src/mm/calls/mmap.ts:41` */
export function formatPlace({ file, line }: SourcePlace): string {
  return `${file}:${line}`;
}

/** Each frame as `mmap (src/mm/calls/mmap.ts:41)`. */
export function formatStack(stack: string): string[] {
  return placesOf(stack).map(
    (place) => (place.call === "" ? "" : `${place.call} `) + `(${formatPlace(place)})`,
  );
}

function hrefOf(address: string): string {
  return /^\w{2,}:/.test(address)
    ? address
    : new URL(`file://${address.replaceAll("\\", "/")}`).href;
}

function sourceOf(href: string, line: number, column: number): { file: string; line: number } {
  const compiled = href.replace(/[?#].*$/, "");
  if (compiled.endsWith(".js")) {
    const entry = mapOf(compiled)?.findEntry(line - 1, column - 1);
    if (entry?.originalSource !== undefined && entry.originalLine !== undefined) {
      return {
        file: shorten(new URL(entry.originalSource, compiled).href),
        line: entry.originalLine + 1,
      };
    }
  }
  return { file: shorten(compiled), line };
}

function mapOf(compiled: string): SourceMapReader | undefined {
  if (maps.has(compiled)) return maps.get(compiled);
  let reader: SourceMapReader | undefined;
  try {
    const modules = host?.getBuiltinModule?.("node:module") as
      | typeof import("node:module")
      | undefined;
    const files = host?.getBuiltinModule?.("node:fs") as typeof import("node:fs") | undefined;
    if (modules !== undefined && files !== undefined) {
      const payload: unknown = JSON.parse(files.readFileSync(new URL(`${compiled}.map`), "utf8"));
      reader = new modules.SourceMap(payload as import("node:module").SourceMapPayload);
    }
  } catch {
    // There is no map: the place is in the compiled file.
  }
  maps.set(compiled, reader);
  return reader;
}

function shorten(href: string): string {
  if (href.startsWith(projectRoot)) return href.slice(projectRoot.length).replace(builtFolder, "");
  const here = host?.cwd?.();
  const start = here === undefined ? undefined : `${hrefOf(here)}/`;
  if (start !== undefined && href.startsWith(start)) return decodeURI(href.slice(start.length));
  return decodeURI(href.split("/").slice(-2).join("/"));
}
