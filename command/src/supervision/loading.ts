/**
 * @module The imports of a user's modules: who supervises the command is told of each, since an
 * import may never come back.
 */

export interface LoadingHearing {
  loading(path: string, seconds: number): void;
  loaded(): void;
}

let hearing: LoadingHearing | undefined;

/** From now on `one` is told. Once, in a supervised command. */
export function hearLoading(one: LoadingHearing): void {
  hearing = one;
}

/** Imports by `load`, which may take so many seconds. */
export async function whileLoading<T>(
  path: string,
  seconds: number,
  load: () => Promise<T>,
): Promise<T> {
  hearing?.loading(path, seconds);
  try {
    return await load();
  } finally {
    hearing?.loaded();
  }
}
