/**
 * What the numbers mean (DESIGN section 7). q: the request was sent. a_i: the chunk was read that completed the i-th
 * generated event: text, reasoning or tool arguments; never a role, usage or heartbeat. N: output tokens.
 *
 * A stream without such an event has no value, never 0. All times in milliseconds since 1970, which survive a reload.
 */
export interface Marks {
  /** q */
  sent: number;
  /** a_1 */
  first: number | null;
  /** The first text that is not empty. */
  firstText: number | null;
  /** a_last */
  last: number | null;
  /** Tokens so far, by the text: an event may carry several. */
  estimate: number;
  /** The end of the answer. */
  ended: number | null;
  /** N, once the provider told. */
  tokens: number | null;
}

export function begin(sent: number): Marks {
  return { sent, first: null, firstText: null, last: null, estimate: 0, ended: null, tokens: null };
}

/** A generated event, read at *at*. An empty one is none. */
export function generated(marks: Marks, at: number, text: string, isText: boolean): void {
  if (text === "") return;
  marks.first ??= at;
  if (isText) marks.firstText ??= at;
  marks.last = at;
  marks.estimate += estimate(text);
}

/** TTFT = a_1 − q */
export function ttft(marks: Marks): number | null {
  return marks.first === null ? null : marks.first - marks.sent;
}

/** TTFT_answer = first text − q */
export function ttftAnswer(marks: Marks): number | null {
  return marks.firstText === null ? null : marks.firstText - marks.sent;
}

/** E2E = a_last − q; of an answer that came in one piece, its arrival. */
export function e2e(marks: Marks): number | null {
  return marks.last === null ? null : marks.last - marks.sent;
}

/** N by usage; until then an estimate by the text, and marked so. Any text at all is one token. */
export function count(marks: Marks): { n: number; estimated: boolean } {
  if (marks.tokens !== null) return { n: marks.tokens, estimated: false };
  return { n: marks.first === null ? 0 : Math.max(1, Math.round(marks.estimate)), estimated: true };
}

/**
 * About how many tokens *text* is, by the rule of src/tokenwire/measure/tokens.py: for each kind of character, how many
 * of them make a token. Adds up over the parts of a text, so that a delta costs its own length.
 */
export function estimate(text: string): number {
  let [prose, digits, other, two, three, halves] = [0, 0, 0, 0, 0, 0];
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit >= 0x80) {
      if (unit < 0x800) two++;
      else if (unit >= 0xd800 && unit < 0xe000) halves++;
      else three++;
    } else if ((unit >= 97 && unit <= 122) || (unit >= 65 && unit <= 90) || unit === 32 || unit === 9 || unit === 10 || unit === 13) {
      prose++;
    } else if (unit >= 48 && unit <= 57) {
      digits++;
    } else {
      other++;
    }
  }
  return prose / 4.4 + digits / 2.5 + other / 2 + two / 2.5 + three / 1.2 + halves / 2 / 0.5;
}

/** Tokens per second = (N − 1) / (a_last − a_1), the inverse of TPOT. */
export function rate(marks: Marks): number | null {
  if (marks.first === null || marks.last === null || marks.last <= marks.first) return null;
  return ((count(marks).n - 1) / (marks.last - marks.first)) * 1000;
}

export function duration(milliseconds: number | null): string {
  if (milliseconds === null) return "–";
  if (milliseconds < 999.5) return `${Math.max(0, Math.round(milliseconds))} ms`;
  const seconds = milliseconds / 1000;
  return seconds < 59.95 ? `${seconds.toFixed(2)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

export function speed(perSecond: number | null): string {
  if (perSecond === null || !Number.isFinite(perSecond)) return "–";
  return perSecond < 100 ? perSecond.toFixed(1) : grouped(Math.round(perSecond));
}

/** 12,345. By hand: the browser's own formatter takes 25 ms to get ready, in the middle of a stream. */
export function grouped(value: number): string {
  return String(value).replace(/\B(?=(?:\d{3})+$)/g, ",");
}
