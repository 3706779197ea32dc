// The table that the Python decoder is tested by, too: conformance/sse.json.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { ProtocolError, SseDecoder, type SseEvent } from "../src/index.js";

interface Expected {
  event: string;
  data: string;
  id: string | null;
  retry: number | null;
}

interface Case {
  name: string;
  wire: string;
  events: Expected[];
  last_event_id: string | null;
  limit?: number;
  error?: string;
}

const table = new URL("../../../conformance/sse.json", import.meta.url);
const cases = (JSON.parse(readFileSync(table, "utf8")) as { cases: Case[] }).cases;

function read(chunks: Uint8Array[], limit: number | undefined): { events: Expected[]; error?: string; last: string | null } {
  const decoder = new SseDecoder(limit);
  const events: Expected[] = [];
  const plain = ({ event, data, id, retry }: SseEvent): Expected => ({ event, data, id, retry });
  try {
    for (const chunk of chunks) events.push(...decoder.feed(chunk).map(plain));
    decoder.close();
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return { events, error: error.code, last: decoder.lastEventId };
  }
  return { events, last: decoder.lastEventId };
}

function check(example: Case, chunks: Uint8Array[]): void {
  const wanted = { events: example.events, last: example.last_event_id };
  expect(read(chunks, example.limit)).toEqual(example.error ? { ...wanted, error: example.error } : wanted);
}

const bytesOf = (example: Case): Uint8Array => Uint8Array.from(example.wire, (char) => char.charCodeAt(0));

test("the table is there", () => {
  expect(cases.length).toBeGreaterThanOrEqual(180);
});

describe.each(cases)("$name", (example) => {
  const wire = bytesOf(example);

  test("whole", () => check(example, [wire]));

  test("byte by byte, empty chunks between", () => {
    check(example, [...wire].flatMap((byte) => [Uint8Array.of(), Uint8Array.of(byte)]));
  });

  test("every cut", () => {
    for (let cut = 0; cut <= wire.length; cut++) check(example, [wire.slice(0, cut), wire.slice(cut)]);
  });
});

test("the caller may use its buffer again", () => {
  const decoder = new SseDecoder();
  const buffer = new TextEncoder().encode("data: on");
  decoder.feed(buffer);
  buffer.fill(0x78);
  expect(decoder.feed(new TextEncoder().encode("e\n\n"))).toMatchObject([{ data: "one" }]);
});

test("an event knows whether the id is its own", () => {
  const decoder = new SseDecoder();
  const events = decoder.feed(new TextEncoder().encode("id: 1-1\ndata: a\n\ndata: b\n\n"));
  expect(events.map(({ id, ownId }) => [id, ownId])).toEqual([["1-1", true], ["1-1", false]]);
});

test("a long line in small chunks takes linear time", () => {
  const decoder = new SseDecoder();
  const piece = new TextEncoder().encode("x".repeat(64));
  decoder.feed(new TextEncoder().encode("data: "));
  for (let i = 0; i < 50_000; i++) decoder.feed(piece); // 3 MB; joined anew with each chunk it would be 80 GB
  expect(decoder.feed(new TextEncoder().encode("\n\n"))[0]?.data.length).toBe(3_200_000);
});
