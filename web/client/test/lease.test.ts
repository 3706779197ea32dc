import { describe, expect, test } from "vitest";
import { Answer, Client, type FollowOptions, type Platform, type Read, follow, platform as browser } from "../src/index.js";
import { FakeWorld, type Reply, STARTED, done, frame, text } from "./world.js";

const LEASED = { "content-type": "text/event-stream", "x-tokenwire-lease": "15", "x-tokenwire-lease-id": "le_1" };
const RENEWED: Reply = { headers: { "content-type": "application/json" }, body: '{"leases":1,"seconds":15}' };
const LAPSED: Reply = { status: 404, headers: {}, body: '{"error":{"code":"lease_not_found","message":"it lapsed"}}' };

interface Reading {
  world: FakeWorld;
  events: Read[];
  answer: Answer;
  over: () => boolean;
  stop: AbortController;
}

function reading(replies: (Reply | Error | "hang")[], options: FollowOptions = {}, world = new FakeWorld()): Reading {
  world.replies = replies;
  const stop = new AbortController();
  const events: Read[] = [];
  const answer = new Answer();
  let over = false;
  void (async () => {
    for await (const event of follow("/v1/streams/st_1/events", world.platform, { signal: stop.signal, ...options })) {
      events.push(event);
      answer.take(event);
    }
    over = true;
  })().catch(() => (over = true));
  return { world, events, answer, over: () => over, stop };
}

const urls = (world: FakeWorld): string[] => world.requests.map(({ url }) => url);

describe("a lease", () => {
  test("is asked for, and renewed by its id at a third of its time, to the end", async () => {
    const chunks = [STARTED, 9_000, text("a", 2), 9_000, await done("a", 2, 3)];
    const { world, over } = reading([{ headers: LEASED, chunks }, RENEWED, RENEWED, RENEWED], { lease: 15, headers: { authorization: "Bearer k" } });
    await world.run(over);
    expect(world.headers(0)).toMatchObject({ "x-tokenwire-lease": "15" });
    expect(urls(world).slice(1)).toEqual(Array(3).fill("/v1/streams/st_1/lease"));
    expect(world.headers(1)).toEqual({ authorization: "Bearer k", "x-tokenwire-lease-id": "le_1" });
    expect(world.requests[1]?.init.method).toBe("POST");
    expect(world.timers.size).toBe(0);
    expect(world.listeners).toBe(0);
  });

  test("that the relay did not grant needs no renewal", async () => {
    for (const headers of [{}, { "x-tokenwire-lease": "15" }, { "x-tokenwire-lease-id": "le_1" }, { "x-tokenwire-lease": "x", "x-tokenwire-lease-id": "le_1" }]) {
      const chunks = [STARTED, 20_000, await done("", 1, 2)];
      const { world, over } = reading([{ headers: { "content-type": "text/event-stream", ...headers }, chunks }], { lease: 15 });
      await world.run(over);
      expect(world.requests.length).toBe(1);
    }
  });

  test("is not asked for unless wanted", async () => {
    const { world, over } = reading([{ headers: LEASED, chunks: [STARTED, 20_000, await done("", 1, 2)] }]);
    await world.run(over);
    expect(world.headers(0)["x-tokenwire-lease"]).toBeUndefined();
    expect(world.requests.length).toBe(1);
  });

  test("that has lapsed is a connection to be left at once", async () => {
    const again = { headers: { ...LEASED, "x-tokenwire-lease-id": "le_2" }, chunks: [text("b", 3), await done("ab", 3, 4)] };
    const { world, over, answer } = reading([{ headers: LEASED, chunks: [STARTED, text("a", 2), "hang"] }, LAPSED, again], { lease: 15 });
    await world.run(over);
    expect(answer.text).toBe("ab");
    expect(world.headers(2)["last-event-id"]).toBe("1-2");
    expect(world.time - 1_000_000).toBeLessThan(8000);
  });

  test("is renewed once more if a renewal is lost, and at once when the page is back", async () => {
    const { world, over } = reading([{ headers: LEASED, chunks: [STARTED, 20_000, await done("", 1, 2)] }, new TypeError("lost"), { status: 500 }, RENEWED, RENEWED], { lease: 15 });
    await world.run(() => world.requests.length === 3);
    const before = world.time;
    world.mood("awake");
    await world.run(() => world.requests.length === 4);
    expect(world.time).toBe(before);
    await world.run(over);
    expect(world.timers.size).toBe(0);
  });

  test("ends with whoever stops reading", async () => {
    const { world, over, stop } = reading([{ headers: LEASED, chunks: [STARTED, "hang"] }], { lease: 15 });
    await world.run(() => world.timers.size === 2); // silence, and the renewal
    stop.abort();
    await world.run(over);
    expect(world.timers.size).toBe(0);
  });

  test("may be asked for with the start", async () => {
    const world = new FakeWorld();
    world.replies = [{ status: 201, headers: {}, body: '{"id":"st_1","state":"queued","events":"/e"}' }];
    await new Client({ platform: world.platform }).start({ dialect: "openai.chat", request: {}, lease: 30 });
    expect(JSON.parse(String(world.requests[0]?.init.body))).toMatchObject({ lease: 30 });
  });
});

describe("the end of the page", () => {
  const begun: Reply = { chunks: [STARTED, "hang"] };

  test("stops a stream that is to stop with its reader", async () => {
    const { world, events } = reading([begun], { onDisconnect: "cancel", headers: { authorization: "Bearer k" } });
    await world.run(() => events.length === 1);
    world.mood("ended");
    await world.run(() => world.requests.length === 2);
    expect(world.requests[1]?.url).toBe("/v1/streams/st_1/cancel");
    expect(world.requests[1]?.init).toMatchObject({ method: "POST", keepalive: true, headers: { authorization: "Bearer k" } });
    expect(world.requests[1]?.init.body).toBeUndefined(); // a body would have to be JSON
  });

  test.each([undefined, "linger=15", "finish", "linger=", "linger=0.5"])("not under %s", async (onDisconnect) => {
    const { world, events } = reading([begun], onDisconnect === undefined ? {} : { onDisconnect });
    await world.run(() => events.length === 1);
    world.mood("ended");
    await world.run(() => true);
    expect(world.requests.length).toBe(1);
  });

  test("not of a page that may come back", async () => {
    const { world, events } = reading([begun], { onDisconnect: "cancel" });
    await world.run(() => events.length === 1);
    world.mood("asleep");
    await world.run(() => true);
    expect(world.requests.length).toBe(1);
  });

  test("not once it is over", async () => {
    const { world, over } = reading([{ chunks: [STARTED, await done("", 1, 2)] }], { onDisconnect: "linger=0" });
    await world.run(over);
    world.mood("ended");
    expect(world.requests.length).toBe(1);
    expect(world.listeners).toBe(0);
  });

  test("is known to the client that started it", async () => {
    const world = new FakeWorld();
    world.replies = [{ status: 201, headers: {}, body: '{"id":"st_1","state":"queued","events":"/e"}' }, begun, new TypeError("the page is gone")];
    const client = new Client({ platform: world.platform, baseUrl: "http://r" });
    const { id } = await client.start({ dialect: "openai.chat", request: {}, on_disconnect: "cancel" });
    const events = client.follow(id);
    await events.next();
    world.mood("ended");
    expect(urls(world)[2]).toBe("http://r/v1/streams/st_1/cancel");
    void events.return();
  });
});

test("a page says whether it may come back", () => {
  const heard: string[] = [];
  const target = new EventTarget();
  const globals = globalThis as Record<string, unknown>;
  const before = { document: globals["document"], addEventListener: globals["addEventListener"], removeEventListener: globals["removeEventListener"] };
  Object.assign(globals, {
    document: Object.assign(new EventTarget(), { visibilityState: "visible" }),
    addEventListener: target.addEventListener.bind(target),
    removeEventListener: target.removeEventListener.bind(target),
  });
  try {
    const stop = (browser as Platform).moods((mood) => heard.push(mood));
    for (const persisted of [true, false]) target.dispatchEvent(Object.assign(new Event("pagehide"), { persisted }));
    target.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
    stop();
    target.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: false }));
  } finally {
    Object.assign(globals, before);
  }
  expect(heard).toEqual(["asleep", "ended", "awake"]);
});

describe("what the relay says within an open response", () => {
  const snapshot = frame("snapshot", { text: "new", events: 2 }, "1-30");

  test("reset and snapshot, though its ids are behind ours", async () => {
    const chunks = ["retry: 2000\n\n" + frame("reset", { reason: "discontinuous" }), frame("started", { stream: "st_1", model: "m" }) + snapshot, text("er", 31), await done("newer", 3, 32)];
    const { world, over, answer, events } = reading([{ chunks }], { after: "1-99" });
    await world.run(over);
    expect(events.map(({ kind }) => kind)).toEqual(["reset", "started", "snapshot", "text", "done"]);
    expect(answer.text).toBe("newer");
    expect(await answer.verify(answer.done!, world.platform)).toBe("verified");
  });

  test("in mid-connection, with the last id still in force", async () => {
    const chunks = [STARTED, text("old", 99), frame("reset", { reason: "discontinuous" }), frame("started", { stream: "st_1", model: "m" }), snapshot, await done("new", 2, 31)];
    const { world, over, answer, events } = reading([{ chunks }]);
    await world.run(over);
    expect(answer.text).toBe("new");
    expect(events.map(({ id }) => id)).toEqual(["1-0.1", "1-99", null, null, "1-30", "1-31"]);
    expect(await answer.verify(answer.done!, world.platform)).toBe("verified");
  });

  test("a line that breaks after the reset asks for all anew", async () => {
    const { world, over, answer } = reading([{ chunks: [frame("reset", { reason: "trimmed" }), "cut"] }, { chunks: [STARTED, snapshot, await done("new", 2, 31)] }], { after: "1-99" });
    await world.run(over);
    expect(world.requests[1]?.url).toBe("/v1/streams/st_1/events?from=snapshot");
    expect(world.headers(1)["last-event-id"]).toBeUndefined();
    expect(answer.text).toBe("new");
  });

  test("without a snapshot what follows is part of the answer, and said to be", async () => {
    const first = [frame("reset", { reason: "trimmed", earliest: "1-50" }), "id: 1-49\n\n" + text("la", 50), "cut"] as const;
    const { world, over, answer } = reading([{ chunks: [...first] }, { chunks: [text("st", 51), await done("all but the last", 51, 52)] }], { after: "1-2" });
    await world.run(over);
    expect(world.headers(1)["last-event-id"]).toBe("1-50");
    expect(answer).toMatchObject({ text: "last", partial: true });
    expect(await answer.verify(answer.done!, world.platform)).toBe("partial");
    expect(Answer.from(answer.save()).partial).toBe(true);
  });

  test("come back later: an end with nothing but when", async () => {
    const { world, over } = reading([{ chunks: ["retry: 4000\n\n"] }, { chunks: [STARTED, await done("", 1, 2)] }]);
    await world.run(over);
    expect(world.time).toBe(1_004_000);
  });
});
