// An upstream that speaks another dialect: the page finds out, and asks in it.
import { expect, test } from "./world.js";

test.use({ anthropic: true });

test("Anthropic's models answer, streamed and not", async ({ playground }) => {
  await playground.ask("Tell me of the sea.", { model: "claude/claude-sonnet-4-5", mode: "both", think: true });
  await playground.phase("done");
  await playground.phase("done", "whole");
  expect((await playground.text()).length).toBeGreaterThan(100);
  expect(await playground.text()).toBe(await playground.truth());
  await expect(playground.lane().locator("[data-test=verdict]")).toContainText("none lost or doubled");
  for (const way of ["stream", "whole"] as const) {
    await expect(playground.lane(way).locator("[data-test=thoughts]")).not.toBeEmpty();
  }
});

test("and call tools", async ({ playground }) => {
  await playground.ask("What is the weather in Oslo?", { model: "claude/claude-sonnet-4-5", mode: "both", tools: true });
  for (const way of ["stream", "whole"] as const) {
    await playground.phase("done", way);
    await expect(playground.lane(way).locator("[data-test=arguments]").first()).toContainText("Oslo");
  }
});
