/**
 * @module The kinds of mutants: what counts as a synchronising statement, what is done to it, and why that is worth a look. A kind is a row of the
 * table at the end.
 */

import {
  below,
  callIn,
  calleeName,
  callsBelow,
  child,
  children,
  functionAround,
  oneLine,
  receiver,
  walk,
  word,
} from "./syntax.mjs";

/**
 * @typedef {import("./syntax.mjs").Node} Node
 * @typedef {import("./syntax.mjs").Visited} Visited
 */

/**
 * One replacement of a stretch of the text.
 *
 * @typedef {{ readonly start: number, readonly end: number, readonly text: string }} Edit
 */

/**
 * What one kind found: `at` is the node that must be reached for the mutant to matter.
 *
 * @typedef {{ readonly at: Node, readonly edits: readonly Edit[], readonly what: string }} Found
 */

/**
 * @typedef {object} Kind
 * @property {string} name
 * @property {string} does What is done, in words.
 * @property {string} reason Why such a mistake is worth looking for.
 * @property {(visited: Visited, text: string) => Found[]} find
 */

/** Locks by the name of the method that takes them, with those that give them back. */
const TAKERS = new Map([
  ["lock", "unlock"],
  ["downRead", "upRead"],
  ["downWrite", "upWrite"],
  ["readLock", "readUnlock"],
  ["writeBegin", "writeEnd"],
  ["enterStore", "leaveStore"],
  ["lockQueue", "unlockQueue"],
]);
/** Attempts, with those that give back what they took. */
const TRIERS = new Map([
  ["tryLock", "unlock"],
  ["tryDownRead", "upRead"],
  ["tryDownWrite", "upWrite"],
]);
const GIVERS = new Set(TAKERS.values());

/** Orders other threads to let go, or waits until they have. */
const FLUSHES = /^(flush|flushAll|bump|synchronize|synchronizeSrcu|barrier|waitForStores|waitUntilQuiet)$/;
/** Wakes others. */
const WAKES =
  /^(wake|wakeOne|wakeAll|wakeReaders|wakeWriter|wakeForState|complete|completeAll|futexWake|atomicNotify|notifyAll|completeBatch)$/;
/** One more. */
const GETS =
  /^(get|getNotZero|pageGet|pageGetNotZero|pagePin|mmget|mmgetNotZero|mmgrab|hmmGet|shmemGet|getSource|useMirrorOps|addHolder|mmGrab)$/;
/** One less. */
const PUTS =
  /^(put|pagePut|pageUnpin|mmput|mmdrop|hmmPut|shmemPut|putDevice|dropSource|dropMirrorOps|dropHolder|putHalf)$/;
/** Who is written down as the owner of what, for the case that it dies. */
const OWNING = /^(addResource|removeResource|disown|noteExclusive|noteCounted|dropHeld|setOwner)$/;
/** Tells the listeners of an address space. */
const NOTICES = /^mmuNotifier/;
/** Writes a sequence, a mark or a state that others read without the writer's lock. */
const MARKERS =
  /^(invalidateStamp|settleStamp|startStamp|orphanStamp|writeStamp|setMirrorStatus|recordInFlight|forgetInFlight|beginHold|endHold|declarePanic|trackEntry|nameEntry|markDirty|setDirty|setWant|invalidate|clearAccessed)$/;
/** Fields that are marks: what a reaper must give back, who is alive, what is in force. */
const MARKS =
  /^(owns|stamp|invalidators|notifiers|overflow|armed|hmm|state|ownerAgent|resourceSlot|isOver|slot|generation|sequence|pgd)$/;
const STORES = /^atomic(Store|Or|And|Xor)$/;
const CHANGES = /^atomic(Exchange|Add|Sub)$/;
const SWAPS = /^atomicCompareExchange$/;
const LOADS = /^(atomicLoad|plainLoad|wordAt|readStamp|readWord)$/;
/** Looks at what others change, behind a name. */
const LOOKS =
  /^(is(Listed|Live|Sole|Pinned|Done|Orphaned|Armed|StillValid|Current|InForce|Idle|Named|Accessed|Inside|Taken)|has(Completed|Changed|Calls|Met|Room)|must[A-Z]\w*|try[A-Z]\w*)$/;
/** Call-backs: what a driver or a listener does when it is told. */
const CALL_BACKS = /^(hmm)?(invalidate|release|orphaned)/i;
/** What a task offers to an explorer and does not do: no effect of its own. */
const OFFERS = /^(access|describe|offer|beforeStampChanges|park|beforeSleep|checkPanic)$/;
/** Ends in an assertion. */
const COMPLAINTS = /^(bug|panic|complain|failure|fail|throw[A-Z]\w*|assert\w*|require\w*)$/;

/**
 * @param {Node} node
 * @param {string} text
 */
function textOf(node, text) {
  return text.slice(node.start, node.end);
}

/**
 * The call of an expression statement, if it is one.
 *
 * @param {Node} node
 */
function statementCall(node) {
  return node.type === "ExpressionStatement" ? callIn(child(node, "expression")) : undefined;
}

/** @param {Node} node @returns {Edit} */
const removal = ({ start, end }) => ({ start, end, text: ";" });

/**
 * Statements whose call has a name that fits: taken out.
 *
 * @param {RegExp} names
 * @returns {Kind["find"]}
 */
function removesCalls(names) {
  return ({ node }, text) => {
    const call = statementCall(node);
    if (call === undefined || !names.test(calleeName(call))) return [];
    return [{ at: node, edits: [removal(node)], what: `${textOf(node, text)} is missing` }];
  };
}

/**
 * Whether `call` takes or gives back something called `on`.
 *
 * @param {Node} call
 * @param {string} text
 * @param {string} on
 * @param {string} name
 */
function isOn(call, text, on, name) {
  return calleeName(call) === name && receiver(call, text) === on;
}

/**
 * A lock taken nowhere in its function: each take, each attempt and each giving back of the same lock goes. Once for each lock and function.
 *
 * @type {Kind["find"]}
 */
function findLock(visited, text) {
  const call = statementCall(visited.node);
  if (call === undefined) return [];
  const giver = TAKERS.get(calleeName(call));
  if (giver === undefined) return [];
  const on = receiver(call, text);
  const own = functionAround(visited);
  if (own === undefined) return [];
  const body = child(own.node, "body");
  if (body === undefined) return [];
  const all = below({ node: body, parent: own, field: "body" });
  const statements = all.filter(({ node }) => {
    const other = statementCall(node);
    return other !== undefined && (isOn(other, text, on, calleeName(call)) || isOn(other, text, on, giver));
  });
  if (statements[0]?.node !== visited.node) return [];
  const tries = all.filter(({ node }) => {
    const other = node.type === "YieldExpression" ? child(node, "argument") : undefined;
    return other?.type === "CallExpression" && TRIERS.get(calleeName(other)) === giver && receiver(other, text) === on;
  });
  const edits = [
    ...statements.map(({ node }) => removal(node)),
    ...tries.map(({ node }) => ({ ...removal(node), text: "true" })),
  ];
  return [{ at: visited.node, edits, what: `without ${textOf(visited.node, text)} and what gives it back` }];
}

/** @type {Kind["find"]} */
function findUnlock({ node }, text) {
  const call = statementCall(node);
  if (call === undefined || !GIVERS.has(calleeName(call))) return [];
  return [{ at: node, edits: [removal(node)], what: `${textOf(node, text)} is missing` }];
}

/** @type {Kind["find"]} */
function findWeaker(visited, text) {
  const call = statementCall(visited.node);
  if (call === undefined || calleeName(call) !== "downWrite") return [];
  const on = receiver(call, text);
  const body = child(functionAround(visited)?.node ?? visited.node, "body");
  if (body === undefined) return [];
  const calls = callsBelow({ node: body, parent: undefined, field: "" }).map(({ node }) => node);
  const own = calls.filter((other) => isOn(other, text, on, "downWrite") || isOn(other, text, on, "upWrite"));
  if (own[0] !== call || own.length < 2) return [];
  const edits = own.map((other) => {
    const name = child(child(other, "callee") ?? other, "property") ?? other;
    return { start: name.start, end: name.end, text: calleeName(other) === "downWrite" ? "downRead" : "upRead" };
  });
  return [{ at: visited.node, edits, what: `${on} for reading only` }];
}

/** @type {Kind["find"]} */
function findFewerWakes({ node }, text) {
  if (node.type !== "CallExpression") return [];
  const property = child(child(node, "callee") ?? node, "property");
  if (calleeName(node) === "wakeAll" && property !== undefined && property.type === "Identifier") {
    return [
      {
        at: node,
        edits: [{ start: property.start, end: property.end, text: "wakeOne" }],
        what: `${textOf(node, text)} wakes one only`,
      },
    ];
  }
  const [, , count] = children(node, "arguments");
  if (calleeName(node) !== "futexWake" || count === undefined || textOf(count, text) !== "Infinity") return [];
  return [
    {
      at: node,
      edits: [{ start: count.start, end: count.end, text: "1" }],
      what: `${textOf(node, text)} wakes one only`,
    },
  ];
}

/** @type {Kind["find"]} */
function findReference({ node, parent }, text) {
  const call = statementCall(node);
  if (call !== undefined && (GETS.test(calleeName(call)) || PUTS.test(calleeName(call)))) {
    if (!isTask(node) && receiver(call, text) !== "") return []; // a Map's
    return [{ at: node, edits: [removal(node)], what: `${textOf(node, text)} is missing` }];
  }
  if (node.type !== "YieldExpression" || parent?.node.type === "ExpressionStatement") return [];
  const used = child(node, "argument");
  if (used?.type !== "CallExpression") return [];
  const name = calleeName(used);
  if (name.endsWith("NotZero"))
    return [
      {
        at: node,
        edits: [{ ...removal(node), text: "true" }],
        what: `${textOf(node, text)} counts nothing and says yes`,
      },
    ];
  if (!PUTS.test(name)) return [];
  return [{ at: node, edits: [{ ...removal(node), text: "false" }], what: `${textOf(node, text)} gives nothing back` }];
}

/**
 * `yield* f()` as a statement.
 *
 * @param {Node} node
 */
function isTask(node) {
  const expression = child(node, "expression");
  return (
    node.type === "ExpressionStatement" && expression?.type === "YieldExpression" && expression["delegate"] === true
  );
}

/** @type {Kind["find"]} */
function findNotice(visited, text) {
  const { node, parent } = visited;
  if (node.type !== "YieldExpression" || parent?.node.type === "ExpressionStatement")
    return removesCalls(NOTICES)(visited, text);
  const call = child(node, "argument");
  if (call?.type !== "CallExpression" || !NOTICES.test(calleeName(call))) return [];
  return [{ at: node, edits: [{ ...removal(node), text: "0" }], what: `${textOf(node, text)} is missing` }];
}

/** @type {Kind["find"]} */
function findSwap({ node }, text) {
  if (node.type !== "CallExpression" || !SWAPS.test(calleeName(node))) return [];
  const [words, index, expected, fresh] = children(node, "arguments").map((argument) => textOf(argument, text));
  const edit = { start: node.start, end: node.end, text: `(Atomics.store(${words}, ${index}, ${fresh}), ${expected})` };
  return [{ at: node, edits: [edit], what: `${textOf(node, text)} does not compare` }];
}

/** @type {Kind["find"]} */
function findMark({ node, parent }, text) {
  const call = statementCall(node);
  if (call !== undefined) {
    const name = calleeName(call);
    if (!STORES.test(name) && !CHANGES.test(name) && !MARKERS.test(name) && !OWNING.test(name)) return [];
    return [{ at: node, edits: [removal(node)], what: `${textOf(node, text)} is missing` }];
  }
  if (node.type === "CallExpression" && CHANGES.test(calleeName(node)) && parent?.node.type !== "ExpressionStatement") {
    const [words, index] = children(node, "arguments").map((argument) => textOf(argument, text));
    return [
      {
        at: node,
        edits: [{ ...removal(node), text: `Atomics.load(${words}, ${index})` }],
        what: `${textOf(node, text)} changes nothing`,
      },
    ];
  }
  if (node.type !== "ExpressionStatement") return [];
  const expression = child(node, "expression");
  const target = expression === undefined ? undefined : (child(expression, "left") ?? child(expression, "argument"));
  if (!/^(AssignmentExpression|UpdateExpression)$/.test(expression?.type ?? "") || target?.type !== "MemberExpression")
    return [];
  const property = child(target, "property");
  if (property?.type !== "Identifier" || !MARKS.test(word(property, "name"))) return [];
  return [{ at: node, edits: [removal(node)], what: `${textOf(node, text)} is missing` }];
}

/**
 * The calls that take something and those that give it back, before `offset` in its function: is something held there?
 *
 * @param {Visited} visited
 */
function isUnderLock(visited) {
  const own = functionAround(visited);
  const body = own === undefined ? undefined : child(own.node, "body");
  if (body === undefined) return false;
  let isHeld = false;
  for (const { node } of callsBelow({ node: body, parent: undefined, field: "" })) {
    if (node.start >= visited.node.start) break;
    const name = calleeName(node);
    if (TAKERS.has(name) || TRIERS.has(name) || name.endsWith("NotZero")) isHeld = true;
    else if (GIVERS.has(name)) isHeld = false;
  }
  return isHeld;
}

/** @param {Node} test */
function looksAtShared(test) {
  return below({ node: test, parent: undefined, field: "" }).some(({ node }) => {
    if (node.type === "YieldExpression") return true;
    const name = node.type === "CallExpression" ? calleeName(node) : "";
    return LOADS.test(name) || SWAPS.test(name) || LOOKS.test(name);
  });
}

/**
 * The last statement of a block, or the statement itself.
 *
 * @param {Node | undefined} statement
 * @returns {Node | undefined}
 */
function lastOf(statement) {
  return statement?.type === "BlockStatement" ? children(statement, "body").at(-1) : statement;
}

/** @param {Node | undefined} statement */
function isComplaint(statement) {
  const last = lastOf(statement);
  if (last?.type === "ThrowStatement") return true;
  const call =
    last === undefined
      ? undefined
      : (statementCall(last) ?? (last.type === "ReturnStatement" ? callIn(child(last, "argument")) : undefined));
  return call !== undefined && COMPLAINTS.test(calleeName(call));
}

/** @type {Kind["find"]} */
function findLook(visited, text) {
  const { node } = visited;
  const test = child(node, "test");
  if (!/^(If|While)Statement$/.test(node.type) || test === undefined) return [];
  const consequent = child(node, "consequent");
  if (isComplaint(consequent)) return [];
  if (
    /EXPLORED|REAL|DEBUG/.test(textOf(test, text)) ||
    callsBelow({ node: test, parent: undefined, field: "" }).some(
      ({ node: call }) => calleeName(call) === "hasPanicked",
    )
  )
    return [];
  if (!looksAtShared(test) && !isUnderLock(visited)) return [];
  const leaves = /^(Return|Continue|Break)Statement$/.test(lastOf(consequent)?.type ?? "");
  const fixed = node.type === "WhileStatement" || leaves ? "false" : "true";
  if (textOf(test, text) === fixed || textOf(test, text) === "true") return [];
  const manner = node.type === "WhileStatement" ? "while" : "if";
  return [
    {
      at: test,
      edits: [{ start: test.start, end: test.end, text: fixed }],
      what: `${manner} (${textOf(test, text)}): always ${fixed}`,
    },
  ];
}

/** @type {Kind["find"]} */
function findOnce({ node, parent, field }, text) {
  if (node.type !== "WhileStatement") return [];
  const inside = below({ node, parent, field });
  if (!inside.some(({ node: one }) => one.type === "YieldExpression")) return [];
  if (inside.some(({ node: one }) => /^(Break|Continue)Statement$/.test(one.type))) return [];
  const test = child(node, "test") ?? node;
  return [
    {
      at: node,
      edits: [{ start: node.start, end: node.start + "while".length, text: "if" }],
      what: `while (${textOf(test, text)}) looks once only`,
    },
  ];
}

/** @type {Kind["find"]} */
function findAnswer(visited, text) {
  const { node } = visited;
  if (node.type !== "BinaryExpression" || !/^[!=]==$/.test(word(node, "operator"))) return [];
  const sides = [child(node, "left"), child(node, "right")];
  if (!sides.some((side) => side?.type === "CallExpression" && LOADS.test(calleeName(side)))) return [];
  let at = visited.parent;
  while (at !== undefined && /^(LogicalExpression|ParenthesizedExpression|UnaryExpression)$/.test(at.node.type))
    at = at.parent;
  if (at?.node.type !== "ReturnStatement") return [];
  const fixed = word(node, "operator") === "===" ? "true" : "false";
  return [{ at: node, edits: [{ ...removal(node), text: fixed }], what: `${textOf(node, text)}: always ${fixed}` }];
}

/** @type {Kind["find"]} */
function findCallBack(visited) {
  const { node } = visited;
  if (node.type !== "FunctionDeclaration" || node["generator"] !== true) return [];
  const name = word(child(node, "id") ?? node, "name");
  const body = child(node, "body");
  if (!CALL_BACKS.test(name) || body === undefined) return [];
  const first = children(body, "body")[0] ?? body;
  return [
    { at: first, edits: [{ start: body.start, end: body.end, text: "{ return 0; }" }], what: `${name} does nothing` },
  ];
}

/** Of the other kinds, what a bare `yield*` may be. */
const CLASSED = [FLUSHES, WAKES, GETS, PUTS, OWNING, MARKERS, OFFERS, NOTICES];

/** @type {Kind["find"]} */
function findStep({ node }, text) {
  const call = isTask(node) ? statementCall(node) : undefined;
  if (call === undefined) return [];
  const name = calleeName(call);
  if (name === "" || TAKERS.has(name) || GIVERS.has(name) || CLASSED.some((names) => names.test(name))) return [];
  return [{ at: node, edits: [removal(node)], what: `${textOf(node, text)} is missing` }];
}

/** @param {Visited} statement */
function synchronises(statement) {
  const inside = below(statement);
  if (inside.some(({ node }) => /^(Return|Break|Continue|Throw)Statement$/.test(node.type))) return false;
  return inside.some(({ node }) => {
    if (node.type !== "CallExpression") return node.type === "YieldExpression" && callIn(node) === undefined;
    const name = calleeName(node);
    if (OFFERS.test(name)) return false;
    const isClassed = [FLUSHES, WAKES, OWNING, MARKERS, NOTICES, STORES, CHANGES, SWAPS].some((names) =>
      names.test(name),
    );
    return isClassed || TAKERS.has(name) || GIVERS.has(name) || isDelegated(inside, node);
  });
}

/**
 * @param {readonly Visited[]} inside
 * @param {Node} call
 */
function isDelegated(inside, call) {
  return inside.some(({ node }) => node.type === "YieldExpression" && child(node, "argument") === call);
}

/**
 * Names that a statement declares or assigns.
 *
 * @param {Visited} statement
 */
function writtenNames(statement) {
  return below(statement).flatMap(({ node, field }) => {
    const isDeclared = node.type === "Identifier" && field === "id";
    if (isDeclared) return [word(node, "name")];
    const target = node.type === "AssignmentExpression" ? child(node, "left") : undefined;
    return target?.type === "Identifier" ? [word(target, "name")] : [];
  });
}

/** @type {Kind["find"]} */
function findOrder(visited, text) {
  const { node, parent, field } = visited;
  if (field !== "body" || parent?.node.type !== "BlockStatement") return [];
  const row = children(parent.node, "body");
  const next = row[row.indexOf(node) + 1];
  if (next === undefined) return [];
  const second = { node: next, parent, field };
  if (!synchronises(visited) || !synchronises(second)) return [];
  const names = new Set(below(second).map(({ node: one }) => (one.type === "Identifier" ? word(one, "name") : "")));
  if (writtenNames(visited).some((name) => names.has(name))) return [];
  const own = new Set(below(visited).map(({ node: one }) => (one.type === "Identifier" ? word(one, "name") : "")));
  if (writtenNames(second).some((name) => own.has(name))) return [];
  const [one, other] = [textOf(node, text), textOf(next, text)];
  if (one === other) return [];
  const edits = [
    { start: node.start, end: node.end, text: other },
    { start: next.start, end: next.end, text: one },
  ];
  return [{ at: node, edits, what: `${other} before ${one}` }];
}

/** @type {readonly Kind[]} */
export const kinds = [
  {
    name: "lock",
    does: "a lock is not taken in a function, nor tried, nor given back",
    reason: "what it guards is then read and written by two at once",
    find: findLock,
  },
  {
    name: "unlock",
    does: "a lock is not given back",
    reason: "the next who wants it waits for ever",
    find: findUnlock,
  },
  {
    name: "weaker",
    does: "a lock is taken for reading instead of for writing",
    reason: "readers then see what is half changed",
    find: findWeaker,
  },
  {
    name: "flush",
    does: "a flush, a new generation or a grace period is left out",
    reason: "others still use what has been taken away",
    find: removesCalls(FLUSHES),
  },
  { name: "wake", does: "nobody is woken", reason: "who sleeps, sleeps on: a lost wake-up", find: removesCalls(WAKES) },
  {
    name: "fewer",
    does: "one is woken instead of all",
    reason: "with two sleepers the second sleeps on",
    find: findFewerWakes,
  },
  {
    name: "reference",
    does: "a reference is not taken, or not given back",
    reason: "the object is freed under its user, or never",
    find: findReference,
  },
  {
    name: "notice",
    does: "listeners are not told of a change of the mapping",
    reason: "a device keeps what it should have let go",
    find: findNotice,
  },
  {
    name: "compare",
    does: "a compare-and-swap stores without a look and says that it fitted",
    reason: "what another thread has just stored is lost",
    find: findSwap,
  },
  {
    name: "mark",
    does: "a store of a sequence, a state, an owner or another mark is left out",
    reason: "others decide by an old one, and a reaper gives back too much or too little",
    find: findMark,
  },
  {
    name: "look",
    does: "a look at shared state decides nothing: an early way out is never taken, anything else always done",
    reason: "what was true before the lock or the wait need not be true after it",
    find: findLook,
  },
  {
    name: "answer",
    does: "a comparison with a shared word that a function answers with is taken to hold",
    reason: "who asks whether something is still as it was is told yes",
    find: findAnswer,
  },
  {
    name: "callback",
    does: "a call-back that listens to a space does nothing",
    reason: "the device goes on with what it should let go",
    find: findCallBack,
  },
  {
    name: "once",
    does: "a loop that waits looks once only",
    reason: "who is woken need not find what it waits for",
    find: findOnce,
  },
  {
    name: "step",
    does: "one step of a protocol, a bare `yield*`, is left out",
    reason: "each is a place where others come in, and the protocols are made of them",
    find: findStep,
  },
  {
    name: "order",
    does: "two neighbouring steps change places",
    reason: "most protocols here are nothing but an order",
    find: findOrder,
  },
];

/**
 * Everything that `kind` finds in a file.
 *
 * @param {Kind} kind
 * @param {Visited} root
 * @param {string} text
 * @returns {{ found: Found, visited: Visited }[]}
 */
export function findAll(kind, root, text) {
  return [...walk(root)].flatMap((visited) =>
    kind.find(visited, text).map((found) => ({ found: { ...found, what: oneLine(found.what) }, visited })),
  );
}
