/**
 * @module The text that the programs of programs/told.ts are told in, letter by letter, by the name
 * of the program.
 */

export const texts: Readonly<Record<string, string>> = {
  "told/data-race": `data-race: nothing orders two accesses to data: writer writes it holding no
  lock; reader reads it holding no lock
  writer: plain write data  test/checker/programs/told.ts:135
  reader: plain read data   test/checker/programs/told.ts:138
  needs 0 preemptions, 2 steps
  hmm replay told/data-race@h1-ab

   │ writer             │ reader
───┼────────────────────┼──────────────────
 1 │ write isSet = 1    │
   │ ✗ plain write data │
   │ · returns          │
 2 │                    │ read isSet = 1
   │                    │ ✗ plain read data

no path of happens-before joins the two accesses (clocks: writer [1 0], reader
[1 1])

The nearest passing schedule diverges at step 1:
  hmm replay told/data-race@h1-ba

  fails                                 │ passes
▶ writer  write isSet = 1               │ reader  read isSet = 0
  reader  read isSet = 1                │ writer  write isSet = 1
  ✗                                     │ ✓
`,

  "told/deadlock": `deadlock: left waits for ever (lock of b), which right holds; right waits for
  ever (lock of a), which left holds
  left: lock b   test/checker/programs/told.ts:24
  right: lock a  test/checker/programs/told.ts:24
  needs 1 preemption, 2 steps
  hmm replay told/deadlock@h1-ab

   │ left                           │ right
───┼────────────────────────────────┼──────────────────────────────
 1 │ ┏ lock a                       │
 2 │ ┃                              │ ┏ lock b
   │ ┃ ✗ waits for b, held by right │ ┃
   │ ┃                              │ ┃ ✗ waits for a, held by left

cycle: left ─ b → right ─ a → left

The nearest passing schedule diverges at step 2:
  hmm replay told/deadlock@h1-a4b4

  fails                                 │ passes
  left   lock a                         │ left   lock a
▶ right  lock b                         │ left   lock b
                                        │ left   unlock b
                                        │ left   unlock a
                                        │ right  lock b
                                        │ right  lock a
                                        │ right  unlock a
                                        │ right  unlock b
  ✗                                     │ ✓
`,

  "told/endless": `endless: spinner goes round for ever while setter could go on: say what is
  waited for, with waitWhile of a Cell or with a wait queue; 1 step leads
  back to where it began, from step 2 on: spinner read isSet
  spinner: read isSet  test/checker/programs/told.ts:194
  needs 0 preemptions, 8 steps
  hmm replay told/endless@h1-b8

   │ spinner
───┼───────────────
 1 │ read isSet = 0
   │   ↻ the same step 7 times more
   │ ✗ spinner goes round for ever while setter could go on: say what is waited
   │   for, with waitWhile of a Cell or with a wait queue; 1 step leads back to
   │   where it began, from step 2 on: spinner read isSet

not involved: setter

The nearest passing schedule diverges at step 2:
  hmm replay told/endless@h1-a2b

  fails                                 │ passes
  spinner  read isSet = 0               │ spinner  read isSet = 1
▶ spinner  read isSet = 0               │
  spinner  read isSet = 0               │
  spinner  read isSet = 0               │
  spinner  read isSet = 0               │
  spinner  read isSet = 0               │
  spinner  read isSet = 0               │
  spinner  read isSet = 0               │
  ✗                                     │ ✓
`,

  "told/lock-order": `lock-order: order.a is taken while order.b is held: the opposite order was seen
  before
  second: lock order.b  test/checker/programs/told.ts:23
  needs 0 preemptions, 7 steps
  hmm replay told/lock-order@h1-a5b2

   │ first             │ second
───┼───────────────────┼─────────────────────────────
 1 │ ┏  lock order.a   │
 2 │ ┃┏ lock order.b   │
 3 │ ┃┗ unlock order.b │
 4 │ ┗  unlock order.a │
 5 │    write turn = 1 │
   │    · returns      │
 6 │                   │   has seen turn = 1
 7 │                   │ ┏ ✗ lock order.b
   │                   │ ┃ ✗ is about to lock order.a

first, at
  takeBoth (test/checker/programs/told.ts:24)
  first (test/checker/programs/told.ts:170)

then, at
  takeBoth (test/checker/programs/told.ts:24)
  second (test/checker/programs/told.ts:175)
`,

  "told/lost-update": `assertion: an increment was lost
  needs 1 preemption, 4 steps
  hmm replay told/lost-update@h1-ab2a

   │ one         │ two
───┼─────────────┼────────────
 1 │ read x = 0  │
   │ · preempted │
 2 │             │ read x = 0
 3 │             │ write x = 1
   │             │ · returns
 4 │ write x = 1 │
   │ ✗ an increment was lost

The nearest passing schedule diverges at step 2:
  hmm replay told/lost-update@h1-a2b2

  fails                                 │ passes
  one  read x = 0                       │ one  read x = 0
▶ two  read x = 0                       │ one  write x = 1
  two  write x = 1                      │ two  read x = 1
  one  write x = 1                      │ two  write x = 2
  ✗                                     │ ✓
`,

  "told/lost-wakeup": `lost-wakeup: sleeper waits for ever (park of wait queue): waker woke the queue
  before, at step 3
  sleeper: park wait queue  test/checker/programs/told.ts:54
  needs 1 preemption, 5 steps
  hmm replay told/lost-wakeup@h1-ab2a2

   │ sleeper                                 │ waker
───┼─────────────────────────────────────────┼──────────────────────────────────
 1 │ read isReady = 0                        │
   │ · preempted                             │
 2 │                                         │ write isReady = 1
 3 │                                         │ wakeAll wait queue: nobody sleeps
   │                                         │ · returns
 4 │ enqueue wait queue                      │
 5 │ tests the condition of wait queue       │
   │ ✗ sleeps on wait queue; nobody is left  │
   │   to wake it                            │

The nearest passing schedule diverges at step 3:
  hmm replay told/lost-wakeup@h1-ababa5

  fails                                 │ passes
  sleeper  read isReady = 0             │ sleeper  read isReady = 0
  waker    write isReady = 1            │ waker    write isReady = 1
▶ waker    wakeAll wait queue: nobody   │ sleeper  enqueue wait queue
           sleeps                       │
  sleeper  enqueue wait queue           │ waker    wakeAll wait queue: sleeper
  sleeper  tests the condition of wait  │ sleeper  tests the condition of wait
           queue                        │          queue
                                        │ sleeper  wakes up on wait queue
                                        │ sleeper  enqueue wait queue
                                        │ sleeper  tests the condition of wait
                                        │          queue
                                        │ sleeper  dequeue wait queue
  ✗                                     │ ✓
`,

  "told/use-after-free": `use-after-free: reader uses refcount, which owner freed
  owner: alloc mirror                    test/checker/programs/told.ts:99
  owner: free mirror                     test/checker/programs/told.ts:103
  reader: refGetNotZero mirror.refcount  test/checker/programs/told.ts:109
  needs 0 preemptions, 6 steps
  hmm replay told/use-after-free@h1-a4b2

     │ owner                        │ reader
─────┼──────────────────────────────┼────────────────────────────────────────
 1 ┬ │ alloc mirror                 │
 2 │ │ write pointer = mirror       │
 3 │ │ refPut mirror.refcount 1 → 0 │
 4 ┴ │ free mirror                  │
   · │ · returns                    │
 5 · │                              │ read pointer = mirror
 6 ✗ │                              │ ✗ refGetNotZero mirror.refcount: poison

beside the steps: the life of mirror (┬ allocated, ┴ freed, ✗ used after that)
not involved: bystander

The nearest passing schedule diverges at step 4:
  hmm replay told/use-after-free@h1-a3b2ac2

  fails                                 │ passes
  the same step                         │
  owner   write pointer = mirror        │ owner   write pointer = mirror
  owner   refPut mirror.refcount 1 → 0  │ owner   refPut mirror.refcount 1 → 0
▶ owner   free mirror                   │ reader  read pointer = mirror
  reader  read pointer = mirror         │ reader  refGetNotZero
                                        │         mirror.refcount: is 0
  reader  refGetNotZero                 │ owner   free mirror
          mirror.refcount: poison       │
  ✗                                     │ ✓
`,
};
