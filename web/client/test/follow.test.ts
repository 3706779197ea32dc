import { describe, expect, test } from "vitest";
import {
  Answer,
  Client,
  ConnectionError,
  type FollowOptions,
  HttpError,
  NotResumable,
  ProtocolError,
  type Read,
  type Situation,
  follow,
} from "../src/index.js";
import { FakeWorld, type Reply, STARTED, done, frame, text } from "./world.js";

interface Followed {
  events: Read[];
  error: unknown;
  answer: Answer;
  situations: Situation[];
}

async function run(world: FakeWorld, replies: (Reply | Error | "hang")[], options: FollowOptions = {}): Promise<Followed> {
  world.replies = replies;
  const out: Followed = { events: [], error: null, answer: new Answer(), situations: [] };
  let over = false;
  const reading = (async () => {
    try {
      const onUnknown = (name: string, id: string | null): void => out.answer.skip(name, id);
      const onSituation = (situation: Situation): void => void out.situations.push(situation);
      for await (const event of follow("/e", world.platform, { onUnknown, onSituation, ...options })) {
        out.events.push(event);
        out.answer.take(event);
      }
    } catch (error) {
      out.error = error;
    }
    over = true;
  })();
  await world.run(() => over);
  await reading;
  return out;
}

const PRIME = "id: 1-0\n\n";

describe("following", () => {
  test("to the end, verified", async () => {
    const world = new FakeWorld();
    const chunks = [PRIME + STARTED, text("Hel", 2), text("lo", 3), await done("Hello", 3, 4)];
    const { answer, error } = await run(world, [{ chunks }]);
    expect(error).toBeNull();
    expect(answer).toMatchObject({ text: "Hello", stream: "st_1", model: "m", cursor: "1-4" });
    expect(await answer.verify(answer.done!, world.platform)).toBe("verified");
    expect(world.headers(0)).toEqual({ accept: "text/event-stream" });
    expect(world.timers.size).toBe(0);
    expect(world.listeners).toBe(0);
  });

  test("news have the newest id, and are no repetition of its event", async () => {
    const world = new FakeWorld();
    const estimate = frame("usage", { output: 1, estimated: true }, "1-2");
    const first = [PRIME + STARTED, text("Hel", 2), estimate, frame("notice", { code: "queued" }, "1-2")];
    const again = [frame("usage", { output: 1 }, "1-2"), text("lo", 3), frame("usage", { estimated: true }, "1-3"), await done("Hello", 3, 4)];
    const { answer, events, error } = await run(world, [{ chunks: first }, { chunks: again }]);
    expect(error).toBeNull();
    expect(events.map(({ kind }) => kind)).toEqual(["started", "text", "usage", "notice", "text", "usage", "done"]);
    expect(answer).toMatchObject({ text: "Hello", events: 3, cursor: "1-4" });
    expect(await answer.verify(answer.done!, world.platform)).toBe("verified");
  });

  test("through a cut, with the last id, dropping what it has", async () => {
    const world = new FakeWorld();
    const { answer, situations } = await run(world, [
      { chunks: [STARTED, text("Hel", 2), "event: text\ndata: {\"t\":\"l", "cut"] },
      { chunks: [text("Hel", 2), text("lo", 3), await done("Hello", 3, 4)] },
    ]);
    expect(answer.text).toBe("Hello");
    expect(world.headers(1)["last-event-id"]).toBe("1-2");
    expect(situations.map(({ state }) => state)).toEqual(["connecting", "open", "waiting", "connecting", "open"]);
    expect(await answer.verify(answer.done!, world.platform)).toBe("verified");
  });

  test("from the middle", async () => {
    const world = new FakeWorld();
    const { events } = await run(world, [{ chunks: [text("lo", 3), await done("Hello", 3, 4)] }], { after: "1-2" });
    expect(world.headers(0)["last-event-id"]).toBe("1-2");
    expect(events.map(({ kind }) => kind)).toEqual(["text", "done"]);
  });

  test("an end without done is no end", async () => {
    const world = new FakeWorld();
    const { answer } = await run(world, [{ chunks: [STARTED, text("a", 2)] }, { chunks: [await done("a", 2, 3)] }]);
    expect(answer.done?.state).toBe("completed");
    expect(world.requests.length).toBe(2);
  });

  test("204: it was over", async () => {
    const { events, error } = await run(new FakeWorld(), [{ status: 204 }], { after: "1-9" });
    expect([events, error]).toEqual([[], null]);
  });

  test("an error counts if the stream ends with it, and not if it is the reader's own", async () => {
    const world = new FakeWorld();
    const failure = { code: "slow_reader", message: "detached", retryable: true };
    const { answer, events } = await run(world, [
      { chunks: [STARTED, frame("error", failure)] },
      { chunks: [text("a", 2), frame("error", { ...failure, code: "x" }, "1-2.1"), await done("a", 3, 3, "failed")] },
    ]);
    expect(events.map(({ kind }) => kind)).toEqual(["started", "text", "error", "done"]);
    expect(answer.error?.code).toBe("x");
    expect(await answer.verify(answer.done!, world.platform)).toBe("verified");
  });

  test("kinds of a newer relay are passed over, and counted", async () => {
    const world = new FakeWorld();
    const { answer, events } = await run(world, [
      { chunks: [STARTED, frame("hologram", { x: 1 }, "1-2"), await done("", 2, 3)] },
    ]);
    expect(events.map(({ kind }) => kind)).toEqual(["started", "done"]);
    expect(await answer.verify(answer.done!, world.platform)).toBe("verified");
  });
});

describe("what cannot be continued", () => {
  test("is read anew as a snapshot", async () => {
    const world = new FakeWorld();
    const snapshot = frame("snapshot", { text: "Hel", events: 2, tool_calls: [{ id: "c", name: "f", arguments: "{", ended: false }] }, "1-2");
    const { answer, events } = await run(
      world,
      [{ status: 410, body: '{"error":{"code":"trimmed","message":"gone"}}' }, { chunks: [STARTED, snapshot, text("lo", 3), await done("Hello", 3, 4)] }],
      { after: "1-1" },
    );
    expect(events[0]).toMatchObject({ kind: "reset", data: { reason: "trimmed" } });
    expect(world.requests[1]?.url).toBe("/e?from=snapshot");
    expect(answer.calls).toMatchObject([{ name: "f", arguments: "{" }]);
    expect(await answer.verify(answer.done!, world.platform)).toBe("verified");
  });

  test("and if there is none, that is said", async () => {
    const { error } = await run(new FakeWorld(), [{ status: 409, body: "{}" }, { status: 410, body: "{}" }], { after: "1-1" });
    expect(error).toBeInstanceOf(NotResumable);
  });

  test("in mid-stream: reset, snapshot, on", async () => {
    const world = new FakeWorld();
    const { answer } = await run(world, [
      { chunks: [STARTED, text("old", 2), frame("reset", { reason: "discontinuous" }), frame("snapshot", { text: "new", events: 5 }, "2-7"), await done("new", 5, 8)] },
    ]);
    expect(answer.text).toBe("new");
    expect(await answer.verify(answer.done!, world.platform)).toBe("verified");
  });
});

describe("refusals and nonsense", () => {
  test.each([[400], [401], [403], [404], [422]])("%i is not tried again", async (status) => {
    const world = new FakeWorld();
    const { error } = await run(world, [{ status, body: '{"error":{"code":"why","message":"because"}}' }]);
    expect(error).toBeInstanceOf(HttpError);
    expect(error).toMatchObject({ status, code: "why", message: "because", retryable: false });
    expect(world.requests.length).toBe(1);
  });

  test.each([[408], [429], [500], [503]])("%i is", async (status) => {
    const world = new FakeWorld();
    const { answer } = await run(world, [{ status, headers: { "retry-after": "7" } }, { chunks: [await done("", 0, 1)] }]);
    expect(answer.done).not.toBeNull();
    // The server's wish is the floor.
    expect(world.time).toBeGreaterThanOrEqual(1_000_000 + 7000);
  });

  test("another type, broken data, a member missing", async () => {
    const html = await run(new FakeWorld(), [{ headers: { "content-type": "text/html" }, body: "<p>" }]);
    expect(html.error).toMatchObject({ code: "not_a_stream" });
    for (const broken of ["event: text\ndata: {\n\n", 'event: text\ndata: {"x":1}\n\n', "event: done\ndata: []\n\n"]) {
      const { error } = await run(new FakeWorld(), [{ chunks: [broken] }]);
      expect(error).toBeInstanceOf(ProtocolError);
    }
  });

  test("a head without a type was cut", async () => {
    const { answer } = await run(new FakeWorld(), [{ headers: {}, chunks: [] }, { chunks: [await done("", 0, 1)] }]);
    expect(answer.done).not.toBeNull();
  });
});

describe("patience", () => {
  test("doubles under full jitter, to a ceiling, and ends", async () => {
    const world = new FakeWorld();
    const { error, situations } = await run(world, Array.from({ length: 12 }, () => new TypeError("refused")), { tries: 9 });
    expect(error).toBeInstanceOf(ConnectionError);
    const waits = situations.flatMap((each) => (each.state === "waiting" ? [each.milliseconds] : []));
    expect(waits).toEqual([250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
  });

  test("retry is a floor, and progress starts the count anew", async () => {
    const world = new FakeWorld();
    const { situations } = await run(world, [
      new TypeError("refused"),
      new TypeError("refused"),
      { chunks: ["retry: 1300\n\n", STARTED, "cut"] },
      { chunks: [await done("", 1, 2)] },
    ]);
    const waits = situations.flatMap((each) => (each.state === "waiting" ? [each.milliseconds] : []));
    expect(waits).toEqual([250, 500, 1300]);
  });

  test("no answer within 8 s: given up", async () => {
    const world = new FakeWorld();
    const { situations } = await run(world, ["hang", { chunks: [await done("", 0, 1)] }]);
    expect(situations).toContainEqual({ state: "waiting", milliseconds: 250, because: "no answer within 8 s" });
  });

  test("silence for 25 s: given up; heartbeats keep it", async () => {
    const world = new FakeWorld();
    const chunks = [STARTED, 10_000, 10_000, 10_000, text("a", 2), "hang"];
    const { answer, situations } = await run(world, [{ chunks }, { chunks: [await done("a", 2, 3)] }]);
    expect(answer.text).toBe("a");
    const because = situations.flatMap((each) => (each.state === "waiting" ? [each.because] : []));
    expect(because).toEqual(["nothing came for 25 s, not even a heartbeat"]);
    expect(world.time).toBeGreaterThanOrEqual(1_000_000 + 55_000);
  });

  test("a page that wakes tries at once, and distrusts a silent line", async () => {
    const world = new FakeWorld();
    world.replies = [{ chunks: [STARTED, "hang"] }, { chunks: [await done("", 1, 2)] }];
    const seen: string[] = [];
    let over = false;
    void (async () => {
      for await (const event of follow("/e", world.platform)) seen.push(event.kind);
      over = true;
    })();
    await world.run(() => seen.length === 1);
    world.mood("awake"); // heard a moment ago: kept
    expect(world.requests.length).toBe(1);
    world.time += 13_000;
    world.mood("awake");
    await world.run(() => over);
    expect(seen).toEqual(["started", "done"]);
  });

  test("a page that sleeps closes the line, and waits for the waking", async () => {
    const world = new FakeWorld();
    world.replies = [{ chunks: [STARTED, "hang"] }, { chunks: [await done("", 1, 2)] }];
    const seen: string[] = [];
    let over = false;
    void (async () => {
      for await (const event of follow("/e", world.platform)) seen.push(event.kind);
      over = true;
    })();
    await world.run(() => seen.length === 1);
    world.mood("asleep");
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    expect([world.requests.length, world.timers.size]).toEqual([1, 0]);
    world.mood("awake");
    await world.run(() => over);
    expect(world.headers(1)["last-event-id"]).toBe("1-0.1");
  });
});

test("leaving closes the line and throws nothing", async () => {
  const world = new FakeWorld();
  world.replies = [{ chunks: [STARTED, "hang"] }];
  const abort = new AbortController();
  const seen: string[] = [];
  let over = false;
  void (async () => {
    for await (const event of follow("/e", world.platform, { signal: abort.signal })) seen.push(event.kind);
    over = true;
  })();
  await world.run(() => seen.length === 1);
  abort.abort();
  await world.run(() => over);
  expect(world.requests[0]?.init.signal?.aborted).toBe(true);
  expect([world.timers.size, world.listeners]).toEqual([0, 0]);
});

describe("the client", () => {
  const json = (value: unknown, status = 200): Reply => ({ status, headers: { "content-type": "application/json" }, body: JSON.stringify(value) });
  const client = (world: FakeWorld): Client => new Client({ baseUrl: "http://relay/", headers: { authorization: "Bearer k" }, platform: world.platform });

  test("starts once, however often it asks", async () => {
    const world = new FakeWorld();
    world.replies = [new TypeError("refused"), json({}, 503), json({ id: "st_1", state: "connecting", events: "/e" }, 201)];
    let started: unknown = null;
    void client(world).start({ dialect: "openai.chat", request: {} }).then((value) => (started = value));
    await world.run(() => started !== null);
    expect(started).toMatchObject({ id: "st_1" });
    const keys = world.requests.map((_, i) => world.headers(i)["idempotency-key"]);
    expect(new Set(keys).size).toBe(1);
    expect(keys[0]).toMatch(/^[0-9a-f]{32}$/);
    expect(world.headers(2)).toMatchObject({ authorization: "Bearer k", "content-type": "application/json" });
    expect(world.requests[0]?.url).toBe("http://relay/v1/streams");
  });

  test("never asks twice what could run twice", async () => {
    const world = new FakeWorld();
    world.replies = [json({ error: { code: "overloaded", message: "later" } }, 503), json({})];
    await expect(client(world).complete("/v1/chat/completions", {})).rejects.toMatchObject({ status: 503, retryable: true });
    expect(world.requests.length).toBe(1);
  });

  test("reads a whole answer, or says why not", async () => {
    const read = async (chunks: string[]): Promise<unknown> => {
      const world = new FakeWorld();
      world.replies = [{ chunks }];
      return client(world).read("st_1");
    };
    await expect(read([STARTED, text("a", 2), await done("a", 2, 3)])).resolves.toMatchObject({ text: "a" });
    await expect(read([STARTED, text("a", 2), await done("b", 2, 3)])).rejects.toMatchObject({ code: "integrity" });
    await expect(read([STARTED, text("a", 2), await done("a", 3, 3)])).rejects.toMatchObject({ code: "integrity" });
    const error = frame("error", { code: "upstream_error", message: "it broke", retryable: true, upstream_status: 500 }, "1-1.1");
    await expect(read([STARTED, error, await done("", 2, 2, "failed")])).rejects.toMatchObject({
      name: "StreamFailed",
      state: "failed",
      code: "upstream_error",
      upstreamStatus: 500,
    });
    await expect(read([STARTED, await done("", 1, 2, "cancelled")])).rejects.toMatchObject({ state: "cancelled" });
  });
});
