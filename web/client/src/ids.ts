const ID = /^([0-9]{1,10})-([0-9]{1,18})(?:\.([0-9]{1,9}))?$/;

/**
 * Whether *id* says nothing that *cursor* does not: the same epoch, and not beyond it. Ids of other epochs are never
 * "seen": the relay decides whether they continue, and says `reset` where they do not.
 */
export function seen(id: string, cursor: string | null): boolean {
  const a = ID.exec(id);
  const b = cursor === null ? null : ID.exec(cursor);
  if (!a || !b || Number(a[1]) !== Number(b[1])) return false;
  const order = compare(a[2] ?? "", b[2] ?? "");
  return order < 0 || (order === 0 && compare(a[3] ?? "0", b[3] ?? "0") <= 0);
}

/** As whole numbers, which may be larger than a double holds exactly. */
function compare(a: string, b: string): number {
  const x = BigInt(a);
  const y = BigInt(b);
  return x < y ? -1 : x > y ? 1 : 0;
}
