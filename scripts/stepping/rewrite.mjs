/**
 * @module Derives the stepping forms of one built module.
 *
 * A function with the doc tag `@stepped` that is no generator keeps its plain form. It gets a
 * second form beside it, `f.$steps` (for a method `m`: `m$steps`): a generator of the same text, in
 * which
 *
 *   D1  each call of an access of sync/atomics.ts is a `yield*` of its stepping form
 *       (src/sync/runners/stepping.ts), which offers the step to the explorer and then makes the
 *       access;
 *   D2  so is each element that is read, written or changed (`a[i]`): at run time, an element of
 *       shared memory is a step, and any other element is not;
 *   D3  each call of a tagged function or method is a `yield*` of its stepping form.
 *
 * A tagged generator is rewritten in place by D1 to D3, any other generator by D3 alone. A function
 * that is no generator and not tagged stays as it is: it runs as one piece. Every line keeps its
 * line breaks, so that places in the source stay known.
 *
 *   D4  `@spelled` tags the inside of a primitive of sync/. An exploration takes it as one step,
 *       unless the primitives are spelled out. So what D1 and D3 put in place of a call is chosen
 *       at run time: `spelled out ? the steps : the call`. D2 does not apply: its plain words
 *       belong to its own thread, or are guarded.
 */

/** @typedef {import("./module-facts.mjs").ModuleFacts} ModuleFacts */
/** @typedef {import("./module-facts.mjs").Node} Node */
/** @typedef {import("./module-facts.mjs").Mark} Mark */

/**
 * What is known of all modules.
 * @typedef {object} Marked
 * @property {(module: string, name: string) => Mark | undefined} ofFunction Of a plain one.
 * @property {(name: string) => boolean} isStepped Whether some marked method has the name.
 * @property {(name: string) => boolean} isSpelled The same of the inside of primitives.
 */

/** Where accesses come from, and the name of each one's stepping form. */
const accessModules = /** @type {Record<string, Record<string, string>>} */ ({
  "src/sync/atomics.js": Object.fromEntries(
    [
      "plainLoad",
      "atomicLoad",
      "atomicStore",
      "atomicAdd",
      "atomicSub",
      "atomicAnd",
      "atomicOr",
      "atomicXor",
    ]
      .concat([
        "atomicExchange",
        "atomicCompareExchange",
        "speculativeLoad",
        "speculativeAtomicLoad",
        "futexWake",
      ])
      .concat(["exchangeNoted", "compareExchangeNoted", "storeNoted"])
      .concat(["incrementNoted", "decrementNoted", "storePairNoted"])
      .concat(["futexWaitAsync", "wakeAsyncWaiters"])
      .map((name) => [name, name]),
  ),
  "src/mmu/radix-table.js": { wordAt: "plainLoad" },
  // A thread's way to run a task in plain code: explored, the task is part of the one that runs it.
  "src/sync/runners/run-blocking.js": { runBlocking: "runBlocking" },
});

/** How far the rewriting goes in a function. */
const NOTHING = 0;
const CALLS = 1;
/**
 * D4, in a generator: in the second form of a plain function, which runs only when spelled out, it
 * is the level below.
 */
const SPELLED = 2;
const ALL_SPELLED = 3;
const ACCESSES = 4;

/** Only in the layer of the primitives do methods with such names mean them. */
const primitives = /^src\/sync\//;

/** One piece of the output: text whose line breaks are those of the source from `line` on. */
/** @typedef {{ text: string, line: number }} Piece */

/**
 * @param {ModuleFacts} facts
 * @param {Marked} marked
 * @param {string} runtime How the module imports src/sync/runners/stepping.js.
 * @returns {Piece[] | undefined} Undefined where nothing changes.
 */
export function rewrite(facts, marked, runtime) {
  return new Rewriter(facts, marked).run(runtime);
}

class Rewriter {
  /** @type {ModuleFacts} */
  #facts;
  /** @type {Marked} */
  #marked;
  /** @type {{ start: number, end: number, text: string }[]} */
  #edits = [];
  /**
   * Second forms: where they go, of which range they are. @type {{ at: number, from: number, text:
   * string }[]}
   */
  #twins = [];
  #label = "";
  /**
   * Names of the parameters of the marked function that is being derived. @type
   * {ReadonlySet<string>}
   */
  #parameters = new Set();
  #level = NOTHING;

  /**
   * @param {ModuleFacts} facts
   * @param {Marked} marked
   */
  constructor(facts, marked) {
    this.#facts = facts;
    this.#marked = marked;
  }

  /**
   * @param {string} runtime
   * @returns {Piece[] | undefined}
   */
  run(runtime) {
    for (const statement of this.#facts.program["body"]) this.#statement(statement);
    const { text } = this.#facts;
    if (this.#edits.length === 0 && this.#twins.length === 0) return undefined;
    const edits = this.#edits.toSorted((a, b) => a.start - b.start);
    /** @type {Piece[]} */
    const pieces = [];
    let at = 0;
    const upTo = (/** @type {number} */ end) => {
      const line = this.#lineOf(at);
      let out = at === 0 ? `import * as $s from ${JSON.stringify(runtime)}; ` : "";
      for (let edit = edits[0]; edit !== undefined && edit.start < end; edit = edits[0]) {
        out += text.slice(at, edit.start) + edit.text;
        at = edit.end;
        edits.shift();
      }
      pieces.push({ text: out + text.slice(at, end), line });
      at = end;
    };
    for (const twin of this.#twins.toSorted((a, b) => a.at - b.at)) {
      upTo(twin.at);
      pieces.push({ text: twin.text, line: this.#lineOf(twin.from) });
    }
    upTo(text.length);
    return pieces;
  }

  /** @param {number} offset */
  #lineOf(offset) {
    return newlines(this.#facts.text.slice(0, offset));
  }

  /** @param {Node} statement */
  #statement(statement) {
    const isExport =
      statement.type === "ExportNamedDeclaration" || statement.type === "ExportDefaultDeclaration";
    const declaration = isExport ? statement["declaration"] : statement;
    if (declaration?.type === "FunctionDeclaration") {
      const { name } = declaration.id;
      const mark = this.#facts.functions.get(name);
      if (mark !== undefined && !declaration.generator) {
        const form = this.#twin(declaration, mark, mark.label);
        this.#twins.push({
          at: statement.end,
          from: declaration.start,
          text: ` ${name}.$steps = function* ${form};`,
        });
      } else if (declaration.generator) {
        this.#inPlace(declaration, levelOf(mark), mark?.label ?? name);
      } else this.#inside(declaration.body, NOTHING, "");
    } else if (declaration?.type === "ClassDeclaration") {
      for (const member of declaration.body.body) this.#member(member);
    } else if (declaration !== null && declaration !== undefined)
      this.#inside(declaration, NOTHING, "");
  }

  /** @param {Node} member */
  #member(member) {
    if (member.type !== "MethodDefinition") {
      this.#inside(member, NOTHING, "");
      return;
    }
    const { key, value } = /** @type {any} */ (member);
    const mark = this.#facts.methods.get(member.start);
    const label = mark?.label ?? key.name ?? "";
    if (mark !== undefined && !value.generator) {
      const name = `${key.type === "PrivateIdentifier" ? "#" : ""}${key.name}$steps`;
      const form = this.#twin(value, mark, label);
      const place = member["static"] ? "static *" : "*";
      this.#twins.push({ at: member.end, from: member.start, text: ` ${place}${name}${form}` });
    } else if (value.generator) this.#inPlace(value, levelOf(mark), label);
    else this.#inside(value.body, NOTHING, "");
  }

  /**
   * The parameters and the rewritten body of a plain function's second form.
   * @param {Node} node
   * @param {import("./module-facts.mjs").Mark} mark
   * @param {string} label
   */
  #twin(node, mark, label) {
    if (node["async"]) throw new Error(`${this.#facts.path}: an async function cannot be @stepped`);
    const { params, body } = /** @type {any} */ (node);
    const head =
      params.length === 0 ? "" : this.#facts.text.slice(params[0].start, params.at(-1).end);
    const saved = [this.#edits, this.#level, this.#label];
    this.#edits = [];
    this.#parameters = new Set(params.map((/** @type {any} */ parameter) => parameter.name));
    this.#inside(body, mark.isSpelled ? ALL_SPELLED : ACCESSES, label);
    const rendered = this.#apply(body.start, body.end, this.#edits);
    [this.#edits, this.#level, this.#label] = /** @type {any} */ (saved);
    this.#parameters = new Set();
    // The same function once more, without steps: what its own closures hold is looked at there.
    this.#inside(body, NOTHING, "");
    return `(${head}) ${rendered}`;
  }

  /** @param {Node} node @param {number} level @param {string} label */
  #inPlace(node, level, label) {
    this.#parameters = new Set(
      node["params"].map((/** @type {any} */ parameter) => parameter.name),
    );
    this.#inside(node["body"], level, label);
    this.#parameters = new Set();
  }

  /** @param {Node} node @param {number} level @param {string} label */
  #inside(node, level, label) {
    const saved = [this.#level, this.#label];
    this.#level = level;
    this.#label = label;
    this.#visit(node);
    [this.#level, this.#label] = /** @type {any} */ (saved);
  }

  /** @param {Node} node */
  #visit(node) {
    const edit = this.#editOf(node);
    if (edit !== undefined) {
      this.#edits.push({ start: node.start, end: node.end, text: this.#padded(node, edit) });
      return;
    }
    for (const child of childrenOf(node)) this.#enter(child);
  }

  /** @param {Node} child */
  #enter(child) {
    const isFunction = /^(?:FunctionExpression|FunctionDeclaration|ArrowFunctionExpression)$/.test(
      child.type,
    );
    if (!isFunction) {
      this.#visit(child);
      return;
    }
    if (child["generator"]) {
      this.#inside(child["body"], Math.max(this.#level, CALLS), this.#label);
      return;
    }
    if (this.#level > CALLS) this.#refuseAccesses(child);
    this.#inside(child["body"], NOTHING, "");
  }

  /**
   * A closure cannot yield for the function around it, so none may hold what must be a step. @param
   * {Node} closure
   */
  #refuseAccesses(closure) {
    const saved = this.#edits;
    this.#edits = [];
    this.#visit(closure["body"]);
    const count = this.#edits.length;
    this.#edits = saved;
    if (count === 0) return;
    const line = this.#lineOf(closure.start) + 1;
    throw new Error(
      `${this.#facts.path}:${line}: a closure in a @stepped function holds an access; make it a loop`,
    );
  }

  /**
   * What stands instead of `node`; undefined: the same.
   * @param {Node} node
   * @returns {string | undefined}
   */
  #editOf(node) {
    if (this.#level === NOTHING) return undefined;
    if (node.type === "CallExpression") return this.#callEdit(node);
    if (this.#level !== ACCESSES) return undefined;
    if (node.type === "AssignmentExpression" && isElement(node["left"]))
      return this.#assignmentEdit(node);
    if (node.type === "UpdateExpression" && isElement(node["argument"]))
      return this.#updateEdit(node);
    if (isElement(node)) return `(yield* $s.get(${this.#quoted}, ${this.#elementArguments(node)}))`;
    return undefined;
  }

  get #quoted() {
    return JSON.stringify(this.#label);
  }

  /** @param {Node} node @returns {string | undefined} */
  #callEdit(node) {
    const { callee } = /** @type {any} */ (node);
    const given = this.#argumentsOf(node);
    if (callee.type === "Identifier") {
      const origin = this.#facts.imports.get(callee.name) ?? {
        module: this.#facts.path,
        name: callee.name,
      };
      const access = accessModules[origin.module]?.[origin.name];
      if (access !== undefined) {
        if (this.#level === CALLS) return undefined;
        return this.#chosen(
          this.#level === SPELLED,
          `$s.${access}(${joined(this.#quoted, given)})`,
          node,
          given,
        );
      }
      if (this.#isLocalValue(callee.name)) {
        // A function that was passed in may be an access: only then is its call a step.
        if (this.#level === CALLS || node["optional"]) return undefined;
        const form = `$s.apply(${joined(`${this.#quoted}, ${callee.name}`, given)})`;
        return this.#chosen(this.#level === SPELLED, form, node, given);
      }
      const mark = this.#marked.ofFunction(origin.module, origin.name);
      if (mark === undefined) return undefined;
      return this.#chosen(
        this.#isChosen(mark.isSpelled),
        `${callee.name}.$steps(${given})`,
        node,
        given,
      );
    }
    if (callee.type !== "MemberExpression" || callee.computed) return undefined;
    const { object, property } = callee;
    if (property.type === "PrivateIdentifier") {
      if (!this.#facts.privateNames.has(property.name)) return undefined;
      return `(yield* ${this.#render(object)}.#${property.name}$steps(${given}))`;
    }
    const isStepped = this.#marked.isStepped(property.name);
    const isSpelled = primitives.test(this.#facts.path) && this.#marked.isSpelled(property.name);
    if (object.type === "Super" || !(isStepped || isSpelled)) return undefined;
    if (node["optional"] || callee.optional)
      throw new Error(`${this.#facts.path}: ?. before a @stepped method`);
    const form = `$s.call(${joined(`${this.#render(object)}, "${property.name}"`, given)})`;
    return this.#chosen(!isStepped && this.#isChosen(true), form, node, given);
  }

  /**
   * D4: whether the stepping form of what is marked so is a matter of how things are explored.
   * @param {boolean} isSpelled
   */
  #isChosen(isSpelled) {
    return isSpelled && this.#level !== ALL_SPELLED;
  }

  /**
   * The stepping form `form` of a call; or, if it is to be chosen, either that or the call.
   * @param {boolean} isChosen
   * @param {string} form
   * @param {Node} node
   * @param {string} given
   */
  #chosen(isChosen, form, node, given) {
    if (!isChosen) return `(yield* ${form})`;
    const plain = `${this.#render(node["callee"])}(${given})`;
    if (plain.includes("//"))
      throw new Error(`${this.#facts.path}: a comment among the arguments of a @spelled call`);
    return `($s.isSpelledOut() ? (yield* ${form}) : ${plain.replaceAll("\n", " ")})`;
  }

  /**
   * Whether a name is a parameter of a marked function, or a variable in it. @param {string} name
   */
  #isLocalValue(name) {
    return this.#parameters.has(name);
  }

  /** @param {Node} node */
  #argumentsOf(node) {
    const given = node["arguments"];
    if (given.length === 0) return "";
    // All of it, so that a comment and a line break between two arguments stay.
    return this.#renderRange(given, given[0].start, given.at(-1).end);
  }

  /** @param {Node} element */
  #elementArguments(element) {
    return `${this.#render(element["object"])}, ${this.#render(element["property"])}`;
  }

  /** @param {Node} node */
  #assignmentEdit(node) {
    const { left, right, operator } = /** @type {any} */ (node);
    const head = `${this.#quoted}, ${this.#elementArguments(left)}`;
    if (operator === "=") return `(yield* $s.set(${head}, ${this.#render(right)}))`;
    if (/^(?:&&|\|\||\?\?)=$/.test(operator))
      throw new Error(`${this.#facts.path}: ${operator} on an element`);
    const value = this.#render(right);
    return `(yield* $s.change(${head}, (old, by) => old ${operator.slice(0, -1)} by, ${value}, true))`;
  }

  /** @param {Node} node */
  #updateEdit(node) {
    const { argument, operator, prefix } = /** @type {any} */ (node);
    const head = `${this.#quoted}, ${this.#elementArguments(argument)}`;
    return `(yield* $s.change(${head}, (old, by) => old ${operator[0]} by, 1, ${prefix}))`;
  }

  /** @param {Node} node @returns {string} */
  #render(node) {
    return this.#renderRange([node], node.start, node.end);
  }

  /** @param {readonly Node[]} nodes @param {number} start @param {number} end */
  #renderRange(nodes, start, end) {
    const saved = this.#edits;
    this.#edits = [];
    for (const node of nodes) this.#enter(node);
    const text = this.#apply(start, end, this.#edits);
    this.#edits = saved;
    return text;
  }

  /**
   * @param {number} start @param {number} end @param {{ start: number, end: number, text: string
   * }[]} edits
   */
  #apply(start, end, edits) {
    const { text } = this.#facts;
    let out = "";
    let at = start;
    for (const edit of edits.toSorted((a, b) => a.start - b.start)) {
      out += text.slice(at, edit.start) + edit.text;
      at = edit.end;
    }
    return out + text.slice(at, end);
  }

  /** With as many line breaks as what it stands for. @param {Node} node @param {string} text */
  #padded(node, text) {
    const missing = newlines(this.#facts.text.slice(node.start, node.end)) - newlines(text);
    return missing > 0 ? `${text.slice(0, -1)}${"\n".repeat(missing)}${text.slice(-1)}` : text;
  }
}

/** How far a generator is rewritten. @param {import("./module-facts.mjs").Mark | undefined} mark */
function levelOf(mark) {
  if (mark === undefined) return CALLS;
  return mark.isSpelled ? SPELLED : ACCESSES;
}

/** @param {string} head @param {string} rest */
function joined(head, rest) {
  return rest === "" ? head : `${head}, ${rest}`;
}

/** `a[i]`, where `i` may be an index. @param {Node} node */
function isElement(node) {
  return node.type === "MemberExpression" && node["computed"] && !node["optional"];
}

/** @param {string} text */
function newlines(text) {
  let count = 0;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) count++;
  return count;
}

/** @param {Node} node @returns {Node[]} */
function childrenOf(node) {
  /** @type {Node[]} */
  const children = [];
  for (const [key, value] of Object.entries(node)) {
    if (key === "type" || key === "start" || key === "end") continue;
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && typeof one === "object" && typeof one.type === "string")
        children.push(one);
    }
  }
  return children.toSorted((a, b) => a.start - b.start);
}
