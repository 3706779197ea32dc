/** Work for the next frame, each piece once: the network only fills queues, one callback per frame empties them. */
export class Frames {
  #due = new Set<() => void>();
  #asked = false;

  /** A hidden page gets no frames: the queues wait, and are emptied once when it is seen again. */
  want(work: () => void): void {
    this.#due.add(work);
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      const due = this.#due;
      this.#due = new Set();
      for (const each of due) each();
    });
  }
}

export const frames = new Frames();

/** What a line looks like is known by how it begins. A class is added, the node stays. */
const LOOKS: readonly [RegExp, string][] = [
  [/^#{1,6} /, "heading"],
  [/^\s*(?:[-*+]|\d+[.)]) /, "item"],
  [/^\s*\|/, "table"],
  [/^> /, "quote"],
  [/^(?:---|\*\*\*)\s*$/, "rule"],
];
const FENCE = /^\s*(?:```|~~~)/;
/** Longer beginnings need no look. */
const BEGINNING = 12;

/**
 * Text that only grows, into a host element. Each line is an element of its own with one text node; the open one is
 * appended to (`Text.appendData`), closed ones are never touched. So a frame costs what it adds, however long the text
 * is, and `host.textContent` is exactly the text. Lines of code share a block, which scrolls sideways as one.
 */
export class Typewriter {
  #queue = "";
  #host: HTMLElement | null = null;
  #line: Text | null = null;
  #begun = "";
  #code = false;
  #block: HTMLElement | null = null;
  /** Called in the frame, after text was drawn. */
  onDrawn: () => void = () => undefined;

  readonly #frames: Pick<Frames, "want">;

  constructor(on: Pick<Frames, "want"> = frames) {
    this.#frames = on;
  }

  attach(host: HTMLElement | null): void {
    this.#host = host;
    if (host !== null && this.#queue !== "") this.#frames.want(this.#draw);
  }

  write(text: string): void {
    if (text === "") return;
    this.#queue += text;
    if (this.#host !== null) this.#frames.want(this.#draw);
  }

  clear(): void {
    this.#queue = "";
    this.#line = null;
    this.#begun = "";
    this.#code = false;
    this.#block = null;
    this.#host?.replaceChildren();
  }

  readonly #draw = (): void => {
    const host = this.#host;
    if (host === null || this.#queue === "") return;
    const text = this.#queue;
    this.#queue = "";
    for (let from = 0; from < text.length; ) {
      const end = text.indexOf("\n", from);
      const to = end === -1 ? text.length : end + 1;
      this.#append(host, text.slice(from, to), end !== -1);
      from = to;
    }
    this.onDrawn();
  };

  #append(host: HTMLElement, piece: string, last: boolean): void {
    if (this.#line === null) {
      const element = document.createElement("div");
      element.className = this.#code ? "line code" : "line";
      this.#line = element.appendChild(document.createTextNode(piece));
      this.#begun = "";
      (this.#code ? this.#blockIn(host) : host).appendChild(element);
    } else {
      this.#line.appendData(piece);
    }
    if (this.#begun.length < BEGINNING || last) this.#look(piece, last);
    if (last) this.#line = null;
  }

  #blockIn(host: HTMLElement): HTMLElement {
    if (this.#block === null) {
      this.#block = document.createElement("div");
      this.#block.className = "block";
      host.appendChild(this.#block);
    }
    return this.#block;
  }

  #look(piece: string, last: boolean): void {
    const element = this.#line?.parentElement;
    if (!element) return;
    if (this.#begun.length < BEGINNING) this.#begun += piece.slice(0, BEGINNING);
    const fence = FENCE.test(this.#begun);
    if (this.#code || fence) {
      if (fence) element.classList.add("code", "fence");
      if (fence && last) {
        this.#code = !this.#code;
        this.#block = null;
      }
      return;
    }
    for (const [pattern, look] of LOOKS) if (pattern.test(this.#begun)) element.classList.add(look);
  }
}
