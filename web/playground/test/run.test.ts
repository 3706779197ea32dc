import { Client } from "@tokenwire/client";
import { beforeEach, expect, test, vi } from "vitest";
import { FakeWorld, type Reply, STARTED, done, text } from "../../client/test/world.js";
import { Lane } from "../src/lane.js";
import { resume, stop, stream, whole } from "../src/run.js";

beforeEach(() => {
  vi.stubGlobal("requestAnimationFrame", () => 0); // nothing is drawn here
});

const json = (value: unknown, status = 200): Reply => ({ status, headers: { "content-type": "application/json" }, body: JSON.stringify(value) });
const unsupported = json({ error: { code: "unsupported_dialect", message: "speaks anthropic" } }, 400);

function scene(replies: Reply[], model = "up/claude", dialects?: string[]) {
  const world = new FakeWorld();
  world.replies = replies;
  const client = new Client({ platform: world.platform });
  const lane = new Lane("stream", { model, prompt: "hi", tools: false, think: false }, world.platform);
  let changes = 0;
  const around = { client, listed: () => dialects, changed: () => void changes++ };
  return { world, lane, around, abort: new AbortController() };
}

test("an upstream that speaks another dialect is asked in that, and remembered", async () => {
  const { world, lane, around, abort } = scene([
    unsupported,
    json({ id: "st_1", state: "connecting", events: "/e" }, 201),
    { chunks: [STARTED, text("a", 2), await done("a", 2, 3)] },
  ]);
  void stream(lane, around, abort.signal);
  await world.run(() => lane.verdict.value !== "");
  const dialects = world.requests.slice(0, 2).map(({ init }) => (JSON.parse(String(init.body)) as { dialect: string }).dialect);
  expect(dialects).toEqual(["openai.chat", "anthropic"]);
  expect(lane.phase.value).toBe("done");
  expect(lane.verdict.value).toContain("2 events, none lost or doubled");

  const again = scene([json({ content: [{ type: "text", text: "all" }], usage: { output_tokens: 1 } })]);
  void whole(again.lane, again.around, again.abort.signal);
  await again.world.run(() => !again.lane.live.value);
  expect(again.world.requests[0]?.url).toBe("/v1/messages");
  expect(again.world.headers(0)["anthropic-version"]).toBeDefined();
  expect(again.lane.answer.text).toBe("all");
});

test("a model is asked at once in what the list says, and to think first", async () => {
  const started = json({ id: "st_1", state: "connecting", events: "/e" }, 201);
  const { world, lane, around, abort } = scene([started, { chunks: [STARTED, await done("", 1, 2)] }], "sim/claude", ["openai.chat", "anthropic"]);
  lane.ask = { ...lane.ask, think: true };
  void stream(lane, around, abort.signal);
  await world.run(() => !lane.live.value);
  expect(world.requests.map(({ url }) => url)).toEqual(["/v1/streams", "/v1/streams/st_1/events"]);
  expect(JSON.parse(String(world.requests[0]?.init.body))).toMatchObject({
    dialect: "anthropic",
    request: { thinking: { type: "enabled", budget_tokens: 1024 } },
  });
});

test("a reload asks in the same dialect, though the list has not come yet", async () => {
  const { world, lane, around, abort } = scene([], "sim/claude", ["openai.chat", "anthropic"]);
  void stream(lane, around, abort.signal);
  const old = Lane.from(JSON.parse(JSON.stringify(lane.save())) as ReturnType<Lane["save"]>, world.platform);
  const after = scene([json({ id: "st_1", state: "streaming", events: "/e" }, 201), { chunks: [STARTED, await done("", 1, 2)] }], "sim/claude");
  void resume(old, after.around, after.abort.signal);
  await after.world.run(() => !old.live.value);
  expect(after.world.headers(0)["idempotency-key"]).toBe(`${lane.key}anthropic`);
});

test("a lane that is saved before its start was answered starts under the same key", async () => {
  const { world, lane, around, abort } = scene([], "other/m");
  lane.sent();
  const old = Lane.from(JSON.parse(JSON.stringify(lane.save())) as ReturnType<Lane["save"]>, world.platform);
  expect(old.key).toBe(lane.key);
  expect(old.live.value).toBe(true);
  world.replies = [json({ id: "st_1", state: "streaming", events: "/e" }, 201), { chunks: [STARTED, await done("", 1, 2, "cancelled")] }];
  void resume(old, around, abort.signal);
  await world.run(() => !old.live.value);
  expect(world.headers(0)["idempotency-key"]).toBe(`${lane.key}openai.chat`);
  expect(old.phase.value).toBe("stopped");
});

test("stop before the start was answered cancels once it is", async () => {
  const { world, lane, around, abort } = scene([], "other/m");
  void stop(lane, around, () => abort.abort());
  world.replies = [json({ id: "st_1", state: "connecting", events: "/e" }, 201), json({}), { chunks: [STARTED, await done("", 1, 2, "cancelled")] }];
  void stream(lane, around, abort.signal);
  await world.run(() => lane.phase.value === "stopped");
  expect(world.requests.map(({ url }) => url)).toEqual(["/v1/streams", "/v1/streams/st_1/cancel", "/v1/streams/st_1/events"]);
});

test("a refusal, a mismatch and an end that never came are told", async () => {
  const refused = scene([json({ error: { code: "unknown_model", message: "no such model" } }, 404)], "other/m");
  void stream(refused.lane, refused.around, refused.abort.signal);
  await refused.world.run(() => refused.lane.phase.value === "failed");
  expect(refused.lane.failure.value).toMatchObject({ code: "unknown_model", message: "no such model", upstream_status: 404 });

  const started = json({ id: "st_1", state: "connecting", events: "/e" }, 201);
  const lost = scene([started, { chunks: [STARTED, text("a", 2), await done("ab", 3, 4)] }], "other/m");
  void stream(lost.lane, lost.around, lost.abort.signal);
  await lost.world.run(() => lost.lane.verdict.value !== "");
  expect(lost.lane.verdict.value).toContain("please report");

  const over = scene([started, { status: 204 }], "other/m");
  void stream(over.lane, over.around, over.abort.signal);
  await over.world.run(() => over.lane.phase.value === "lost");
});
