/**
 * @module Linux's errno numbers, negative as inside the kernel: a core function returns 0 or a
 * positive result, or one of these. Only the names that this project uses. The throwing forms at
 * the public edge are in errors.ts.
 */

/** 0, a positive result, or one of the negative constants of this module. */
export type Errno = number;

/** The mapping does not allow that access. */
export const EPERM: Errno = -1;
/** No such file, module or entry. */
export const ENOENT: Errno = -2;
/** No such process: the address space is gone. */
export const ESRCH: Errno = -3;
export const EINTR: Errno = -4;
/** Input/output error: what was wanted is gone. */
export const EIO: Errno = -5;
/** A buffer of the user that has not arrived in this thread. */
export const ENXIO: Errno = -6;
/** Bad file descriptor: the object has been closed or disposed of. */
export const EBADF: Errno = -9;
/** Try again: something else came in between, or waiting was not allowed. */
export const EAGAIN: Errno = -11;
/** No memory is left, or nothing is mapped there. */
export const ENOMEM: Errno = -12;
export const EACCES: Errno = -13;
/** A bad address, or an address space that is dead. */
export const EFAULT: Errno = -14;
/** An invalidation of the range is in flight or came in between: wait, and begin again. */
export const EBUSY: Errno = -16;
export const EEXIST: Errno = -17;
/** The device is gone: the thread that had registered its mirror has died. */
export const ENODEV: Errno = -19;
export const ENOTDIR: Errno = -20;
export const EISDIR: Errno = -21;
/** An argument that cannot be right. */
export const EINVAL: Errno = -22;
/** The thread owns as many things as it may. */
export const EMFILE: Errno = -24;
export const EFBIG: Errno = -27;
/** A table, or a source, has no room for more. */
export const ENOSPC: Errno = -28;
export const EDEADLK: Errno = -35;
export const ENAMETOOLONG: Errno = -36;
export const ENOSYS: Errno = -38;
export const ELOOP: Errno = -40;
/** Operation not supported for this kind of memory, or in this thread. */
export const EOPNOTSUPP: Errno = -95;
/** The time that was given went by. */
export const ETIMEDOUT: Errno = -110;
export const ESTALE: Errno = -116;
/** Operation canceled: what it belonged to was ended. */
export const ECANCELED: Errno = -125;
export const EOWNERDEAD: Errno = -130;
export const ENOTRECOVERABLE: Errno = -131;

/** Every `code` of an HmmError, for a `switch`. docs/ERRORS.md says what each means. */
export type HmmErrorCode =
  | "EPERM"
  | "ENOENT"
  | "ESRCH"
  | "EINTR"
  | "EIO"
  | "ENXIO"
  | "EBADF"
  | "EAGAIN"
  | "ENOMEM"
  | "EACCES"
  | "EFAULT"
  | "EBUSY"
  | "EEXIST"
  | "ENODEV"
  | "ENOTDIR"
  | "EISDIR"
  | "EINVAL"
  | "EMFILE"
  | "EFBIG"
  | "ENOSPC"
  | "EDEADLK"
  | "ENAMETOOLONG"
  | "ENOSYS"
  | "ELOOP"
  | "EOPNOTSUPP"
  | "ETIMEDOUT"
  | "ESTALE"
  | "ECANCELED"
  | "EOWNERDEAD"
  | "ENOTRECOVERABLE";

const names: ReadonlyMap<Errno, HmmErrorCode> = new Map<Errno, HmmErrorCode>([
  [EPERM, "EPERM"],
  [ENOENT, "ENOENT"],
  [ESRCH, "ESRCH"],
  [EINTR, "EINTR"],
  [EIO, "EIO"],
  [ENXIO, "ENXIO"],
  [EBADF, "EBADF"],
  [EAGAIN, "EAGAIN"],
  [ENOMEM, "ENOMEM"],
  [EACCES, "EACCES"],
  [EFAULT, "EFAULT"],
  [EBUSY, "EBUSY"],
  [EEXIST, "EEXIST"],
  [ENODEV, "ENODEV"],
  [ENOTDIR, "ENOTDIR"],
  [EISDIR, "EISDIR"],
  [EINVAL, "EINVAL"],
  [EMFILE, "EMFILE"],
  [EFBIG, "EFBIG"],
  [ENOSPC, "ENOSPC"],
  [EDEADLK, "EDEADLK"],
  [ENAMETOOLONG, "ENAMETOOLONG"],
  [ENOSYS, "ENOSYS"],
  [ELOOP, "ELOOP"],
  [EOPNOTSUPP, "EOPNOTSUPP"],
  [ETIMEDOUT, "ETIMEDOUT"],
  [ESTALE, "ESTALE"],
  [ECANCELED, "ECANCELED"],
  [EOWNERDEAD, "EOWNERDEAD"],
  [ENOTRECOVERABLE, "ENOTRECOVERABLE"],
]);

/**
 * The number of a name such as `"ENOSPC"`, as hosts name their errors; undefined if it has none.
 */
export function errnoOf(name: string): Errno | undefined {
  for (const [errno, known] of names) if (known === name) return errno;
  return undefined;
}

/** `errnoName(EINVAL)` is `"EINVAL"`; a number without a name gives `"E<number>"`. */
export function errnoName(errno: Errno): string {
  return names.get(errno) ?? `E${Math.abs(errno)}`;
}

/** The code of an error that a core function answered. What has no name is an error of the host. */
export function codeOfErrno(errno: Errno): HmmErrorCode {
  return names.get(errno) ?? "EIO";
}
