/** Waiting times between tries: full jitter under a doubling ceiling, so that a thousand pages do not come back at once. */
export class Backoff {
  static readonly BASE = 500;
  static readonly CAP = 30_000;
  /** A connection that was well for so long starts the count anew. */
  static readonly HEALTHY = 10_000;

  readonly #random: () => number;
  #failures = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  get failures(): number {
    return this.#failures;
  }

  /** Milliseconds until the next try; *floor* is what the server asked for. */
  next(floor = 0): number {
    const ceiling = Math.min(Backoff.CAP, Backoff.BASE * 2 ** this.#failures++);
    return Math.max(floor, this.#random() * ceiling);
  }

  reset(): void {
    this.#failures = 0;
  }
}
