/**
 * @module memory/layout/struct
 * Layouts of the kernel heap as data. A struct is a table of fields: name, word offset, kind, and
 * what guards it. The view classes that all code uses are made from the table, and so are the
 * tables of the documents. A plain field is read and written with plain 32-bit accesses under the
 * guard that its table names; what needs more is an embedded primitive of sync/. The allocator is
 * heap.ts.
 *
 *   S1  A pointer is a word index into the heap; 0 is null. A pointer that was read from shared
 *       memory is used through `Struct.at`, which extends this thread's view of the heap to the end
 *       of the object.
 *   S2  A view is a memory and a pointer. It owns nothing and keeps nothing alive.
 *   S3  In debug builds `at` reads the object's header, and throws for a freed object, a foreign
 *       pointer or an object of another struct.
 *   S4  A view is an object of 40 bytes. Where many are met and few fields of each are read (the
 *       tree of vmas: a half of mmap's time went into views), `Struct.plain` reads and writes one
 *       field by the pointer, with the checks of S1 and S3.
 */

import { bug } from "../../sync/errors.ts";
import type { LockClass } from "../../sync/lock-class.ts";
import { lockClass } from "../../sync/lock-class.ts";
import { NameRegistry } from "../../sync/name-registry.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import {
  FreedObjectUse,
  HEADER_FREE,
  HEADER_LIVE,
  HEADER_WORDS,
  POISON_FREE,
  formatPointer,
  headerState,
  headerTag,
  numberOfTag,
  tagOfNumber,
} from "./poison.ts";

/** What every view of an object of the kernel heap has. */
export interface StructView {
  /** Pointer: word index of the object's first word. */
  readonly at: number;
  /** The memory that the object lies in. */
  readonly memory: SharedMemory;
}

export type FieldKind = "u32" | "i32" | "pointer" | "array" | "embedded";

/** A view as its accessors see it. */
interface Parts extends StructView {
  /**
   * Embedded primitives that were used through this view, by number of the field: to make one takes
   * longer than most operations on it.
   */
  parts: unknown[] | undefined;
}

interface Accessor<V> {
  get(this: Parts): V;
  set?(this: Parts, value: V): void;
}

/** One field before it has a name and a place. Made by the makers below. */
export interface Field<V> {
  readonly kind: FieldKind;
  readonly words: number;
  readonly guardedBy: string;
  readonly note: string;
  /** `number` is the field's place among the struct's fields. */
  accessor(offset: number, number: number): Accessor<V>;
}

/** One row of a struct's table. */
export interface FieldInfo {
  readonly name: string;
  /** Words from the start of the object. */
  readonly offset: number;
  readonly words: number;
  readonly kind: FieldKind;
  readonly guardedBy: string;
  readonly note: string;
}

type FieldNames<T extends StructView> = Exclude<keyof T, keyof StructView> & string;
export type FieldTable<T extends StructView> = { readonly [K in FieldNames<T>]: Field<T[K]> };

export interface StructOptions {
  /**
   * The struct is only ever part of another one and has no header of its own. `at` then checks for
   * poison instead, and it may be embedded with `embed(Struct, ...)`. Default false.
   */
  readonly embedded?: boolean;
}

/** A struct without its view type: what registries and allocators need. */
export interface StructInfo {
  readonly name: string;
  readonly sizeWords: number;
  readonly tag: number;
  readonly embedded: boolean;
  readonly fields: readonly FieldInfo[];
}

/** One u32 or pointer field of a struct, of any object, without a view (S4). */
export interface PlainField {
  load(memory: SharedMemory, pointer: number): number;
  store(memory: SharedMemory, pointer: number, value: number): void;
}

/** A layout of the kernel heap: {@link Struct.at} makes a view of an object from its pointer. */
export interface Struct<T extends StructView> extends StructInfo {
  /** Word offset of each field from the object's pointer. */
  readonly offset: { readonly [K in FieldNames<T>]: number };
  /**
   * The view of the object at `pointer`. Throws AssertionFailure on null, and in debug builds on
   * anything but a live object (S3).
   */
  at(memory: SharedMemory, pointer: number): T;
  /** The accessors of a u32 or pointer field, for any object, without a view. */
  plain(field: FieldNames<T>): PlainField;
  /** From the pointer of an embedded field to its object (Linux: container_of). */
  containerOf(fieldPointer: number, field: FieldNames<T>): number;
}

/** A class that can be embedded: a primitive of sync/ or memory/, over WORDS words. */
export interface Embeddable<P> {
  readonly WORDS: number;
  new (memory: SharedMemory, at: number, lockedBy?: LockClass): P;
}

/**
 * Unsigned field, 0..2^32-1. `guardedBy` names the lock (or "const": set before the object is
 * published).
 */
export function u32(guardedBy: string, note: string): Field<number> {
  return {
    kind: "u32",
    words: 1,
    guardedBy,
    note,
    accessor: (offset) => ({
      get() {
        return this.memory.words[this.at + offset]! >>> 0;
      },
      set(value) {
        this.memory.words[this.at + offset] = value;
      },
    }),
  };
}

/** Signed field, for results and counts that may be negative. */
export function i32(guardedBy: string, note: string): Field<number> {
  return signedField("i32", guardedBy, note);
}

/** Word index of another object, 0 for none. */
export function pointer(guardedBy: string, note: string): Field<number> {
  return signedField("pointer", guardedBy, note);
}

function signedField(kind: FieldKind, guardedBy: string, note: string): Field<number> {
  return {
    kind,
    words: 1,
    guardedBy,
    note,
    accessor: (offset) => ({
      get() {
        return this.memory.words[this.at + offset]!;
      },
      set(value) {
        this.memory.words[this.at + offset] = value;
      },
    }),
  };
}

/**
 * `words` consecutive words inside the object. Indices are checked: a wrong one would reach the
 * neighbour.
 */
export class WordArray {
  /** The memory that it lies in. */
  readonly memory: SharedMemory;
  /** Word index of element 0, for code that indexes `memory.words` itself. */
  readonly at: number;
  /** The number of words. */
  readonly length: number;

  constructor(memory: SharedMemory, at: number, length: number) {
    this.memory = memory;
    this.at = at;
    this.length = length;
  }

  /** The word at `index`, as i32. Throws AssertionFailure outside of the array. */
  get(index: number): number {
    this.#check(index);
    this.memory.plainWatch?.note(this.at + index, false, "array");
    return this.memory.words[this.at + index]!;
  }

  /** Sets the word at `index`. Throws AssertionFailure outside of the array. */
  set(index: number, value: number): void {
    this.#check(index);
    this.memory.plainWatch?.note(this.at + index, true, "array");
    this.memory.words[this.at + index] = value;
  }

  #check(index: number): void {
    if (index >= 0 && index < this.length) return;
    bug(`Cannot access element ${index}: the array has ${this.length}; check the index`);
  }
}

/** A field of so many words, read and written one at a time. */
export function array(words: number, guardedBy: string, note: string): Field<WordArray> {
  return {
    kind: "array",
    words,
    guardedBy,
    note,
    accessor: (offset) => ({
      get() {
        return new WordArray(this.memory, this.at + offset, words);
      },
    }),
  };
}

/**
 * A primitive (its own words are guarded by its own rules). `lockClassName` is the name in
 * sync/lockdep/lock-order.ts for locks.
 */
export function embed<P>(Primitive: Embeddable<P>, note: string, lockClassName?: string): Field<P> {
  const lockedBy = lockClassName === undefined ? undefined : lockClass(lockClassName);
  return {
    kind: "embedded",
    words: Primitive.WORDS,
    guardedBy: "itself",
    note,
    accessor: (offset, number) => ({
      get() {
        const parts = (this.parts ??= []);
        // The slot is only ever filled here.
        return (parts[number] ??= new Primitive(this.memory, this.at + offset, lockedBy)) as P;
      },
    }),
  };
}

/** A struct that was declared with `embedded: true`, as a field of another one. */
export function embedStruct<V extends StructView>(
  inner: Struct<V>,
  guardedBy: string,
  note: string,
): Field<V> {
  if (!inner.embedded)
    bug(`Cannot embed ${inner.name}: it is a struct of its own; declare it embedded`);
  return {
    kind: "embedded",
    words: inner.sizeWords,
    guardedBy,
    note,
    accessor: (offset) => ({
      get() {
        return inner.at(this.memory, this.at + offset);
      },
    }),
  };
}

const structs: NameRegistry<StructInfo> = new NameRegistry(
  "structs",
  "import the module that declares it",
);

function layOut(fields: readonly (readonly [string, Field<unknown>])[]): FieldInfo[] {
  let offset = 0;
  return fields.map(([name, { words, kind, guardedBy, note }]) => {
    const info: FieldInfo = { name, offset, words, kind, guardedBy, note };
    offset += words;
    return info;
  });
}

/**
 * Declares a struct. Field order is the order in `fields`. Names are unique in a program:
 * allocators, debug checks and other threads find a struct by its name.
 */
export function struct<T extends StructView>(
  name: string,
  fields: FieldTable<T>,
  options?: StructOptions,
): Struct<T> {
  const id = structs.declare(name);
  if (structs.find(id) !== undefined)
    bug(`Cannot declare struct ${name}: it exists already; choose another name`);
  const tag = tagOfNumber(id);
  const entries = Object.entries<Field<unknown>>(fields);
  const infos = layOut(entries);
  const last = infos.at(-1);
  const sizeWords = last === undefined ? 0 : last.offset + last.words;
  if (sizeWords === 0) bug(`Cannot declare struct ${name}: it has no fields; add one`);
  const embedded = options?.embedded === true;

  // `declare`, or an initializer would define each field. All structs share it, so V8 would never
  // inline it.
  class View implements Parts {
    declare readonly at: number;
    declare readonly memory: SharedMemory;
    declare parts: unknown[] | undefined;
    constructor(memory: SharedMemory, at: number) {
      this.memory = memory;
      this.at = at;
      this.parts = undefined;
    }
  }
  entries.forEach(([fieldName, field], index) => {
    const { offset } = infos[index]!; // infos was mapped from entries
    Object.defineProperty(View.prototype, fieldName, {
      ...field.accessor(offset, index),
      enumerable: true,
    });
  });

  let watched: ViewClass | undefined;

  const declared: Struct<T> = {
    name,
    sizeWords,
    tag,
    embedded,
    fields: infos,
    // Of the type T: FieldTable<T> has checked the table against it.
    offset: Object.fromEntries(
      infos.map((info) => [info.name, info.offset]),
    ) as Struct<T>["offset"],
    at(memory, at) {
      if (at + sizeWords > memory.words.length) memory.ensure(at + sizeWords);
      if (at === 0) bug(`Cannot use ${name} at null: check the pointer before using it`);
      if (memory.debug) checkLive(memory, declared, at);
      const Made =
        memory.plainWatch === undefined ? View : (watched ??= watchedView(View, name, infos));
      return new Made(memory, at) as StructView as T;
    },
    plain(field) {
      const { offset, kind } = infos.find((info) => info.name === field)!; // a name of the table
      if (kind !== "u32" && kind !== "pointer")
        bug(`Cannot access ${name}.${field} as a plain word: its kind is ${kind}; use a view`);
      return new PlainWord(declared, offset, `${name}.${field}`);
    },
    containerOf(fieldPointer, field) {
      return fieldPointer - declared.offset[field];
    },
  };
  structs.set(id, declared);
  return declared;
}

/**
 * S4. A memory that is checked or watched has either `debug` or `plainWatch`. A class, and no
 * functions made for each field: those V8 does not put into the loops that call them.
 */
class PlainWord implements PlainField {
  readonly #info: StructInfo;
  readonly #offset: number;
  readonly #sizeWords: number;
  readonly #label: string;

  constructor(info: StructInfo, offset: number, label: string) {
    this.#info = info;
    this.#offset = offset;
    this.#sizeWords = info.sizeWords;
    this.#label = label;
  }

  load(memory: SharedMemory, at: number): number {
    if (at + this.#sizeWords > memory.words.length) memory.ensure(at + this.#sizeWords);
    if (memory.debug || memory.plainWatch !== undefined) this.#check(memory, at, false);
    return memory.words[at + this.#offset]! >>> 0;
  }

  store(memory: SharedMemory, at: number, value: number): void {
    if (at + this.#sizeWords > memory.words.length) memory.ensure(at + this.#sizeWords);
    if (memory.debug || memory.plainWatch !== undefined) this.#check(memory, at, true);
    memory.words[at + this.#offset] = value;
  }

  #check(memory: SharedMemory, at: number, isStore: boolean): void {
    const { name } = this.#info;
    if (at === 0) bug(`Cannot use ${name} at null: check the pointer before using it`);
    if (memory.debug) checkLive(memory, this.#info, at);
    memory.plainWatch?.note(at + this.#offset, isStore, this.#label);
  }
}

type ViewClass = new (memory: SharedMemory, at: number) => Parts;

/**
 * The view class that reports each access to a plain field to the memory's plainWatch; atomic
 * fields have none. A class of its own, so that views of other machines cost nothing more.
 */
function watchedView(View: ViewClass, structName: string, infos: readonly FieldInfo[]): ViewClass {
  class Watched extends View {}
  for (const { name, offset, kind, guardedBy } of infos) {
    if (kind === "array" || kind === "embedded" || guardedBy.startsWith("atomic")) continue;
    const label = `${structName}.${name}`;
    const { get, set } = Object.getOwnPropertyDescriptor(View.prototype, name) as Required<
      Accessor<number>
    >; // all of these are numbers
    Object.defineProperty(Watched.prototype, name, {
      get(this: Parts): number {
        this.memory.plainWatch?.note(this.at + offset, false, label);
        return get.call(this);
      },
      set(this: Parts, value: number) {
        this.memory.plainWatch?.note(this.at + offset, true, label);
        set.call(this, value);
      },
      enumerable: true,
    });
  }
  return Watched;
}

/** All structs that the loaded modules declared. */
export function declaredStructs(): IterableIterator<StructInfo> {
  return structs.values();
}

/** S3. Embedded structs have no header: they count as freed when every word is poison. */
function checkLive(memory: SharedMemory, info: StructInfo, at: number): void {
  const { words } = memory;
  if (!info.embedded) {
    const header = words[at - HEADER_WORDS]!;
    if (header !== (info.tag | HEADER_LIVE)) throwBadObject(info.name, info.tag, at, header, "use");
    return;
  }
  for (let i = 0; i < info.sizeWords; i++) if (words[at + i] !== POISON_FREE) return;
  throw new FreedObjectUse(
    `Cannot use ${info.name} at ${formatPointer(at)}: its object was freed; keep a reference while using it`,
    at,
  );
}

/** The struct of that tag, if this thread has declared it. */
export function structOfTag(tag: number): StructInfo | undefined {
  return structs.find(numberOfTag(tag));
}

/**
 * Throws the error for an object that is not a live `structName`. `header` is the word before it.
 */
export function throwBadObject(
  structName: string,
  tag: number,
  at: number,
  header: number,
  access: string,
): never {
  const where = `${structName} at ${formatPointer(at)}`;
  if (headerState(header) === HEADER_FREE)
    throw new FreedObjectUse(
      `Cannot ${access} ${where}: it was freed; keep a reference while using it`,
      at,
    );
  if (headerState(header) !== HEADER_LIVE) {
    bug(`Cannot ${access} ${where}: no object starts there; pass a pointer that the heap returned`);
  }
  if (headerTag(header) !== tag) {
    const found = structOfTag(headerTag(header))?.name ?? "object of another program";
    bug(`Cannot ${access} ${where}: a ${found} lives there; check the pointer's type`);
  }
  bug(
    `Cannot ${access} ${where}: its header is damaged; look for a write past the object before it`,
  );
}

/**
 * One Markdown section with a table of fields for each struct, by default all that the loaded
 * modules declared: the source of the layout tables in the documents.
 */
export function describeStructs(infos: readonly StructInfo[] = [...structs.values()]): string {
  return infos.map(describeStruct).join("\n");
}

function describeStruct(info: StructInfo): string {
  const rows = info.fields.map(
    ({ name, offset, words, kind, guardedBy, note }) =>
      `| ${offset} | ${words} | ${name} | ${kind} | ${guardedBy} | ${note} |`,
  );
  const size = `${info.sizeWords} words${info.embedded ? ", embedded in other structs" : ""}`;
  const head = [
    "| word | words | field | kind | guarded by | note |",
    "| --- | --- | --- | --- | --- | --- |",
  ];
  return [`### ${info.name} (${size})`, "", ...head, ...rows, ""].join("\n");
}
