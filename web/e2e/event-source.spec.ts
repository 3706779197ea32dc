// The browser's own EventSource, with a ticket: it comes back by itself, and nothing is lost or told twice.
import { SseDecoder } from "@tokenwire/client";
import { PATIENCE, type Server, expect, test } from "./app.js";
import { BreakingLine } from "./proxy.js";
import type { Page } from "./world.js";

const WORDS = Array.from({ length: 150 }, (_, number) => `word${number} `);

interface Told {
  kind: string;
  id: string;
  data: string;
}

/** Start a stream; where its events are, and a ticket for them. */
async function started(server: Server): Promise<{ events: string; url: string }> {
  const headers = { "content-type": "application/json" };
  const request = { model: "up/m", stream: true, messages: [{ role: "user", content: "hi" }] };
  const body = JSON.stringify({ dialect: "openai.chat", on_disconnect: "finish", request });
  const begun = (await (await fetch(`${server.url}/v1/streams`, { method: "POST", headers, body })).json()) as { id: string; events: string };
  const ticket = await fetch(`${server.url}/v1/streams/${begun.id}/ticket`, { method: "POST" });
  return { events: server.url + begun.events, url: ((await ticket.json()) as { url: string }).url };
}

/** An empty page of that origin, which listens to *url* until nothing is left, and keeps what it hears. */
async function listen(page: Page, origin: string, url: string): Promise<void> {
  await page.route(`${origin}/listen`, (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html>" }));
  await page.goto(`${origin}/listen`);
  await page.evaluate((address) => {
    const source = new EventSource(address);
    const told: Told[] = [];
    // Not the usage: while it grows it is news beside the events, for who is there.
    for (const kind of ["started", "text", "notice", "reset", "snapshot", "error", "done"]) {
      source.addEventListener(kind, (event) => {
        const { data, lastEventId } = event as MessageEvent<string>;
        if (data !== undefined) told.push({ kind, id: lastEventId, data }); // its own error has no data
      });
    }
    Object.assign(window, { source, told });
  }, url);
}

function heard(page: Page): Promise<{ state: number; told: Told[] }> {
  return page.evaluate(() => {
    const { source, told } = window as unknown as { source: EventSource; told: Told[] };
    return { state: source.readyState, told };
  });
}

/** What a reader was told in all; a snapshot is what it says. */
function textOf(told: Told[]): string {
  let text = "";
  for (const { kind, data } of told) {
    if (kind === "text") text += (JSON.parse(data) as { t: string }).t;
    if (kind === "reset") text = "";
    if (kind === "snapshot") text = (JSON.parse(data) as { text: string }).text;
  }
  return text;
}

async function truth(events: string): Promise<Told[]> {
  const body = new Uint8Array(await (await fetch(events)).arrayBuffer());
  const all = new SseDecoder().feed(body).map(({ event, id, data }) => ({ kind: event, id: id ?? "", data }));
  return all.filter(({ kind }) => kind !== "usage");
}

const OPEN = 1;
const CLOSED = 2;

test("cut before its first event, and in mid-stream: it goes on after the last one, until nothing is left", async ({ page, server }) => {
  let begin = (): void => {};
  server.scripted.next.push({
    deltas: WORDS.map((content) => ({ content })),
    pause: 15,
    finish: "stop",
    begins: new Promise((resolve) => {
      begin = resolve;
    }),
  });
  const line = new BreakingLine(server.url, []);
  const origin = await line.listen();
  try {
    const { events, url } = await started(server);
    await listen(page, origin, url);
    await expect.poll(async () => (await heard(page)).state, PATIENCE).toBe(OPEN);
    line.cut();
    await expect.poll(() => line.streams, PATIENCE).toBe(2);
    begin();
    await expect.poll(async () => (await heard(page)).told.length, PATIENCE).toBeGreaterThan(30);
    line.cut();
    // It is told once more that nothing is left, and does not come back.
    await expect.poll(async () => (await heard(page)).state, PATIENCE).toBe(CLOSED);
    const { told } = await heard(page);
    // Who comes back is told what it missed in few events: the text and the ids count, not how many there are.
    expect(textOf(told)).toBe(WORDS.join(""));
    const whole = await truth(events);
    for (const at of [0, -1]) expect(told.at(at)).toEqual(whole.at(at));
    expect(told.filter(({ kind }) => kind !== "text").map(({ kind }) => kind)).toEqual(["started", "done"]);
    const places = told.map(({ id }) => Number(id.split(/[-.]/)[1]));
    expect(places).toEqual([...places].sort((one, other) => one - other));
    const cursors = line.asked.filter(({ line }) => line.includes("/events")).map(({ after }) => after);
    expect(cursors.slice(0, 2)).toEqual([undefined, "1-0"]); // the priming id, before there was an event
    expect(Number(cursors[2]?.split("-")[1])).toBeGreaterThan(20);
    expect(cursors.slice(3)).toEqual([told.at(-1)?.id]);
  } finally {
    await page.close();
    await line.close();
  }
});

test("over a relay that is killed and begun again: it ends with what was stored", async ({ page, server }) => {
  // It shows no status: that its cursor is ahead of the store is told in the stream, with a snapshot.
  server.scripted.next.push({ deltas: WORDS.map((content) => ({ content })), pause: 15, finish: "stop" });
  const { events, url } = await started(server);
  await listen(page, server.url, url);
  await expect.poll(async () => (await heard(page)).told.length, PATIENCE).toBeGreaterThan(40);
  const before = textOf((await heard(page)).told);
  await page.waitForTimeout(300); // what is older than a flush is on the disk
  await server.kill();
  await server.again();
  await expect.poll(async () => (await heard(page)).state, PATIENCE).toBe(CLOSED);
  const { told } = await heard(page);
  expect(JSON.parse(told.at(-1)?.data ?? "")).toMatchObject({ state: "orphaned" });
  const stored = await truth(events);
  expect(textOf(told)).toBe(textOf(stored)); // ahead of the store: reset, and a snapshot; else the rest
  expect(textOf(told).startsWith(before)).toBe(true);
  expect(WORDS.join("").startsWith(textOf(told))).toBe(true);
});
