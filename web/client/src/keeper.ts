import type { Platform } from "./platform.js";

/** How old a saved state may be: what a crash of the tab costs is read again. */
const INTERVAL = 250;

/** The part of Storage that is used; sessionStorage fits. */
export type Box = Pick<Storage, "getItem" | "setItem" | "removeItem">;

/**
 * Keeps a value in a storage while it changes: at most every 250 ms, and when the page goes. Cursor and text are saved
 * in one piece, so whatever is found on a reload fits together.
 */
export class Keeper<T> {
  readonly #box: Box;
  readonly #key: string;
  readonly #platform: Pick<Platform, "after" | "moods">;
  #value: (() => T) | null = null;
  #stopTimer: (() => void) | null = null;

  constructor(box: Box, key: string, platform: Pick<Platform, "after" | "moods">) {
    this.#box = box;
    this.#key = key;
    this.#platform = platform;
    platform.moods((mood) => mood !== "awake" && this.flush());
  }

  /** What was kept; null if nothing was, or if it cannot be read. */
  load(): T | null {
    try {
      const text = this.#box.getItem(this.#key);
      return text === null ? null : (JSON.parse(text) as T);
    } catch {
      return null;
    }
  }

  /** The value changed; *value* is asked when it is written. */
  changed(value: () => T): void {
    this.#value = value;
    this.#stopTimer ??= this.#platform.after(INTERVAL, () => this.flush());
  }

  flush(): void {
    this.#stopTimer?.();
    this.#stopTimer = null;
    const value = this.#value;
    if (value === null) return;
    this.#value = null;
    try {
      this.#box.setItem(this.#key, JSON.stringify(value()));
    } catch {
      this.forget(); // full: half a state would be worse than none, the stream can be read from its start
    }
  }

  forget(): void {
    this.#stopTimer?.();
    this.#stopTimer = null;
    this.#value = null;
    try {
      this.#box.removeItem(this.#key);
    } catch {
      // A storage that is forbidden altogether.
    }
  }
}
