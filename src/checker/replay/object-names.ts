/**
 * @module Names of words in the heap, for reports. Objects are known by the headers that the
 * allocator writes and by the allocations of the execution, fields by the tables of their structs,
 * and all other words by the labels of the code.
 */

import {
  HEADER_LIVE,
  HEADER_WORDS,
  POISON_FREE,
  headerState,
  headerTag,
} from "../../memory/layout/poison.ts";
import { declaredStructs } from "../../memory/layout/struct.ts";
import type { FieldInfo, StructInfo } from "../../memory/layout/struct.ts";
import { CONTROL_WORDS } from "../../sync/control-block.ts";
import type { RecordedObject } from "./recording.ts";

interface KnownObject {
  readonly title: string;
  /** The number among the objects with this title, from 1. */
  readonly number: number;
  readonly at: number;
  readonly words: number;
  readonly fields: readonly FieldInfo[];
  readonly allocStep: number;
  freeStep: number;
  isTouched: boolean;
  readonly badSteps: number[];
}

const LARGEST_DECIMAL = 999_999;

export class ObjectNames {
  readonly #byName = new Map<string, StructInfo>();
  readonly #objects: KnownObject[] = [];
  /** The object of each word. A reused address belongs to the later object. */
  readonly #owner = new Map<number, KnownObject>();
  readonly #counts = new Map<string, number>();
  readonly #labels = new Map<number, string>();

  /** Finds the live objects in `words`. */
  constructor(words: Int32Array) {
    const byTag = new Map<number, StructInfo>();
    for (const info of declaredStructs()) {
      this.#byName.set(info.name, info);
      if (!info.embedded) byTag.set(info.tag, info);
    }
    for (let at = CONTROL_WORDS; at < words.length; at++) {
      if (headerState(words[at]!) !== HEADER_LIVE) continue;
      const info = byTag.get(headerTag(words[at]!));
      if (info !== undefined) this.#add(info.name, at + HEADER_WORDS, info.sizeWords, -1);
    }
  }

  /** Step `step` allocates. */
  alloc(step: number, at: number, words: number, label: string): void {
    this.#add(label, at, words, step);
  }

  /** Step `step` touches these words, which a wait calls `label`. */
  touch(step: number, at: number, words: number, label: string, isFree: boolean): void {
    this.label(at, label);
    let object = this.#ownerOf(at, words);
    if (object === undefined && isFree) object = this.#add(label, at, words, -1);
    if (object === undefined) return;
    object.isTouched = true;
    if (object.freeStep >= 0) object.badSteps.push(step);
    else if (isFree) object.freeStep = step;
  }

  /** Sets the label of a word, unless it has one. */
  label(at: number, label: string): void {
    if (!this.#labels.has(at)) this.#labels.set(at, label);
  }

  /**
   * The name of a word. It is final only after the execution: before that it is not known whether
   * objects need numbers.
   */
  nameOf(word: number, said?: string): string {
    const label = said ?? this.#labels.get(word);
    const object = this.#owner.get(word);
    if (object === undefined) return label ?? `word ${word}`;
    const field = fieldAt(object, word, label);
    if (field !== undefined) return `${titleOf(object, this.#counts)}.${field}`;
    if (label !== undefined && label !== object.title)
      return memberName(titleOf(object, this.#counts), object.title, label);
    return object.at === word && object.words === 1
      ? object.title
      : `${titleOf(object, this.#counts)}[${word - object.at}]`;
  }

  /** The name of the object at the word; `label` if there is none. */
  objectAt(word: number, label: string): string {
    const object = this.#owner.get(word);
    return object === undefined ? label : titleOf(object, this.#counts);
  }

  /** A value as text: a pointer as the name of its object. */
  formatValue(value: number): string {
    const object = this.#owner.get(value);
    if (object !== undefined && object.at === value) return titleOf(object, this.#counts);
    if (value === POISON_FREE) return "poison";
    if (Math.abs(value) <= LARGEST_DECIMAL) return String(value);
    return `0x${(value >>> 0).toString(16)}`;
  }

  /** The objects that the execution allocated or touched. */
  get lives(): RecordedObject[] {
    return this.#objects
      .filter((object) => object.isTouched || object.allocStep >= 0)
      .map((object) => {
        const { at, words, allocStep, freeStep, badSteps } = object;
        return { name: titleOf(object, this.#counts), at, words, allocStep, freeStep, badSteps };
      });
  }

  #add(title: string, at: number, words: number, allocStep: number): KnownObject {
    const number = (this.#counts.get(title) ?? 0) + 1;
    this.#counts.set(title, number);
    const fields = this.#byName.get(title)?.fields ?? [];
    const object: KnownObject = {
      title,
      number,
      at,
      words,
      fields,
      allocStep,
      freeStep: -1,
      isTouched: false,
      badSteps: [],
    };
    this.#objects.push(object);
    for (let word = at; word < at + words; word++) this.#owner.set(word, object);
    return object;
  }

  #ownerOf(at: number, words: number): KnownObject | undefined {
    for (let word = at; word < at + Math.max(words, 1); word++) {
      const object = this.#owner.get(word);
      if (object !== undefined) return object;
    }
    return undefined;
  }
}

function titleOf(object: KnownObject, counts: ReadonlyMap<string, number>): string {
  return counts.get(object.title) === 1 ? object.title : `${object.title}#${object.number}`;
}

/**
 * The name of a part of an object. The label of the part may or may not begin with the object's
 * title.
 */
function memberName(name: string, title: string, label: string): string {
  return `${name}.${label.startsWith(`${title}.`) ? label.slice(title.length + 1) : label}`;
}

/** The field of a word. A word inside a larger field has its label, or its offset. */
function fieldAt(object: KnownObject, word: number, label: string | undefined): string | undefined {
  const offset = word - object.at;
  const field = object.fields.find(
    (info) => offset >= info.offset && offset < info.offset + info.words,
  );
  if (field === undefined) return undefined;
  if (field.kind === "array") return `${field.name}[${offset - field.offset}]`;
  if (offset === field.offset) return field.name;
  const part = label?.split(/->|\./).at(-1) ?? `${offset - field.offset}`;
  return part === field.name ? field.name : `${field.name}.${part}`;
}
