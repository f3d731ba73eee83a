/**
 * @module Modules of the user import `hmm-ts` and `hmm-ts/driver`. The checker explores them in the
 * form in which each racing access is a step, which the package exports under a condition. So what
 * is imported from a call of {@link importExploredForm} on is resolved with that condition, in this
 * thread, as `node --conditions=hmm-explore` would have it. Workers begin without it.
 */

const CONDITION = "hmm-explore";

interface ResolveContext {
  readonly conditions: readonly string[];
}

type Next = (specifier: string, context: ResolveContext) => unknown;

function resolve(specifier: string, context: ResolveContext, next: Next): unknown {
  return next(specifier, { ...context, conditions: [...context.conditions, CONDITION] });
}

/** The same as a module's text: `register` runs it in a thread of its own. */
const HOOKS = `export const resolve = (specifier, context, next) =>
  next(specifier, { ...context, conditions: [...context.conditions, "${CONDITION}"] });`;

/** What Node has of these depends on its version; browsers have none. */
interface NodeModules {
  /** Node 22.15 and later: hooks that run in the thread itself. */
  readonly registerHooks?: (hooks: { readonly resolve: typeof resolve }) => unknown;
  readonly register?: (specifier: string) => unknown;
}

let isAsked = false;

/** Once in a thread is enough; further calls do nothing. Does nothing in a browser. */
export function importExploredForm(): void {
  if (isAsked) return;
  isAsked = true;
  const { process: host } = globalThis as {
    readonly process?: { readonly getBuiltinModule?: (name: string) => unknown };
  };
  const modules = host?.getBuiltinModule?.("node:module") as NodeModules | undefined;
  if (modules?.registerHooks !== undefined) modules.registerHooks({ resolve });
  else modules?.register?.(`data:text/javascript,${encodeURIComponent(HOOKS)}`);
}
