// A page that ends: what becomes of its stream, also behind a proxy that hides it.
import { library } from "./library.js";
import { HidingLine } from "./proxy.js";
import { type Page, type World, expect, test as base } from "./world.js";

declare const tokenwire: typeof import("@tokenwire/client");

interface Seen {
  id: string;
  text: string;
  over: boolean;
}
declare const seen: Seen;

const LONG = { "x-sim-tokens": "3000", "x-sim-interval-ms": "20", "x-sim-ttft-ms": "20" };

const test = base.extend<{ hiding: string }>({
  hiding: async ({ world }, use) => {
    const line = new HidingLine(world.url);
    await use(await line.listen());
    await line.close();
  },
});

/** Start an answer of a minute and read it in the page, as far as it comes. */
async function read(page: Page, url: string, onDisconnect: string, follow: { lease?: number; onDisconnect?: string } = {}): Promise<string> {
  await page.goto(url);
  await library(page);
  const id = await page.evaluate(
    async ([on_disconnect, metadata, follow]) => {
      const client = new tokenwire.Client();
      const request = { model: "sim/gpt-4o", messages: [{ role: "user", content: "Tell me of the sea." }], metadata };
      const { id } = await client.start({ dialect: "openai.chat", request, on_disconnect });
      const seen: Seen = { id, text: "", over: false };
      Object.assign(globalThis, { seen });
      void (async () => {
        for await (const event of client.follow(id, follow)) if (event.kind === "text") seen.text += event.data.t;
        seen.over = true;
      })();
      return id;
    },
    [onDisconnect, LONG, follow] as const,
  );
  await expect.poll(() => page.evaluate(() => seen.text.length)).toBeGreaterThan(20);
  return id;
}

async function state(world: World, id: string): Promise<string> {
  return ((await (await fetch(`${world.url}/v1/streams/${id}`)).json()) as { state: string }).state;
}

for (const [how, leave] of [
  ["closed", (page: Page) => page.close()],
  ["left", (page: Page) => page.goto("about:blank").then(() => undefined)],
  ["reloaded", (page: Page) => page.reload().then(() => undefined)],
] as const) {
  test(`under cancel a page that is ${how} stops its answer, though a proxy hides it`, async ({ page, world, hiding }) => {
    const before = await world.stats();
    const id = await read(page, hiding, "cancel");
    await leave(page);
    await expect.poll(() => state(world, id), { timeout: 3000 }).toBe("cancelled");
    await expect.poll(async () => (await world.stats()).aborted).toBe(before.aborted + 1);
  });
}

test("under linger a reload stops nothing, and goes on", async ({ page, world }) => {
  const before = await world.stats();
  const id = await read(page, world.url, "linger=15");
  await page.reload();
  await library(page);
  const text = await page.evaluate(async (id) => {
    let text = "";
    for await (const event of new tokenwire.Client().follow(id)) {
      if (event.kind === "text") text += event.data.t;
      if (text.length > 200) break;
    }
    return text;
  }, id);
  expect(text.length).toBeGreaterThan(200);
  expect(await state(world, id)).toBe("streaming");
  expect((await world.stats()).aborted).toBe(before.aborted);
  await fetch(`${world.url}/v1/streams/${id}/cancel`, { method: "POST" });
});

test("what a proxy hides and no page says, a lease tells", async ({ page, world, hiding }) => {
  // Not told that it is to stop with its page: as a page that crashes.
  const id = await read(page, hiding, "cancel", { lease: 2, onDisconnect: "finish" });
  const length = (await page.evaluate(() => seen.text)).length;
  await page.waitForFunction((length) => seen.text.length > length + 600, length); // for longer than the lease
  expect(await state(world, id)).toBe("streaming");
  await page.goto("about:blank");
  await expect.poll(() => state(world, id), { timeout: 6000 }).toBe("cancelled");
});

test("a cursor of another life is begun anew, by fetch and by EventSource", async ({ page, world }) => {
  await page.goto(world.url);
  await library(page);
  const [whole, fetched, sourced, kinds, verdicts] = await page.evaluate(async () => {
    const client = new tokenwire.Client();
    const request = { model: "sim/gpt-4o", messages: [{ role: "user", content: "Tell me of the sea." }] };
    const { id } = await client.start({ dialect: "openai.chat", request });
    const answers = [new tokenwire.Answer(), new tokenwire.Answer()] as const;
    const kinds: string[] = [];
    const whole = await client.read(id);
    for await (const event of client.follow(id, { after: "1-99999" })) {
      kinds.push(event.kind);
      answers[0].take(event);
    }
    for await (const event of client.followByEventSource(id, { after: "1-99999" })) answers[1].take(event);
    const verdicts = await Promise.all(answers.map((answer) => client.verify(answer)));
    return [whole.text, answers[0].text, answers[1].text, kinds.slice(0, 3), verdicts] as const;
  });
  expect(fetched).toBe(whole);
  expect(sourced).toBe(whole);
  expect(kinds).toEqual(["reset", "started", "snapshot"]);
  expect(verdicts).toEqual(["verified", "verified"]);
});
