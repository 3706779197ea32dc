/**
 * Everything that can go wrong, each kind a class of its own.
 *
 *     TokenwireError
 *       ConnectionError     the relay cannot be reached, or stays silent
 *       HttpError           it refused the request; `status` and `code` say why
 *         NotResumable      what was asked to go on from is gone, or cannot be proven to be continuous
 *       ProtocolError       what came is no stream of ours
 *       IntegrityError      what was read is not what the relay vouches for
 *       StreamFailed        the stream ended otherwise than completed
 */
export class TokenwireError extends Error {
  /** Stable, for programs; the message is for people. */
  readonly code: string;
  /** Whether the same request may work later. */
  readonly retryable: boolean;

  constructor(code: string, message: string, retryable = false, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    this.retryable = retryable;
  }
}

export class ConnectionError extends TokenwireError {
  constructor(message: string, cause?: unknown) {
    super("connection_failed", message, true, cause);
  }
}

export class HttpError extends TokenwireError {
  readonly status: number;
  /** Milliseconds that the server asks to wait before the next try; null where it does not say. */
  readonly retryAfter: number | null;

  constructor(status: number, code: string, message: string, retryAfter: number | null = null) {
    super(code, message, status === 408 || status === 429 || status >= 500);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export class NotResumable extends HttpError {}

export class ProtocolError extends TokenwireError {
  constructor(code: string, message: string) {
    super(code, message);
  }
}

export class IntegrityError extends TokenwireError {
  constructor(message: string) {
    super("integrity", message);
  }
}

export class StreamFailed extends TokenwireError {
  /** failed, cancelled, orphaned or expired. */
  readonly state: string;
  readonly upstreamStatus: number | null;

  constructor(state: string, code: string, message: string, retryable: boolean, upstreamStatus: number | null) {
    super(code, message, retryable);
    this.state = state;
    this.upstreamStatus = upstreamStatus;
  }
}

/** The error that a refused request stands for; reads the body, whatever vendor's shape it has. Never rejects. */
export async function refused(response: Response): Promise<HttpError> {
  let text = "";
  try {
    text = await response.text();
  } catch {
    // The status says enough.
  }
  const { code, message } = described(text);
  const Kind = response.status === 409 || response.status === 410 ? NotResumable : HttpError;
  return new Kind(
    response.status,
    code ?? `http_${response.status}`,
    message ?? `the relay answered ${response.status} ${response.statusText}`.trim(),
    retryAfter(response.headers),
  );
}

function described(text: string): { code: string | undefined; message: string | undefined } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { code: undefined, message: text.trim().slice(0, 500) || undefined };
  }
  const outer = isObject(value) ? value : {};
  const error = isObject(outer["error"]) ? outer["error"] : outer;
  const word = (name: string): string | undefined => {
    const found = error[name];
    return typeof found === "string" && found !== "" ? found : undefined;
  };
  return { code: word("code") ?? word("type"), message: word("message") ?? word("detail") };
}

function retryAfter(headers: Headers): number | null {
  const exact = Number.parseFloat(headers.get("retry-after-ms") ?? "");
  if (exact >= 0) return exact;
  const seconds = Number.parseFloat(headers.get("retry-after") ?? "");
  return seconds >= 0 ? seconds * 1000 : null; // the HTTP-date form is ignored: our own backoff does then
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
