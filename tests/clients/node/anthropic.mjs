// Anthropic's npm client against a relay: node anthropic.mjs BASE_URL; see lines.mjs; args: CASE MODEL.
import Anthropic from '@anthropic-ai/sdk';
import { serve } from './lines.mjs';

const [baseURL] = process.argv.slice(2);
const client = new Anthropic({ baseURL, apiKey: 'none', maxRetries: 0, timeout: 20_000 });
const messages = [{ role: 'user', content: 'hi' }];

/** What a message says, in the terms of the recordings. */
function told({ content, stop_reason, usage }) {
  const of = (type) => content.filter((block) => block.type === type);
  return {
    text: of('text').map((block) => block.text).join(''),
    reasoning: of('thinking').map((block) => block.thinking).join(''),
    signatures: of('thinking').map((block) => block.signature),
    calls: of('tool_use').map(({ id, name, input }) => ({ id, name, arguments: input })),
    citations: of('text').flatMap((block) => block.citations ?? []),
    types: content.map((block) => block.type),
    reason: stop_reason,
    usage,
  };
}

/** What an exception is to somebody who catches it. */
function thrown(error) {
  const kind = Object.keys(Anthropic).find((key) => Anthropic[key] === error.constructor) ?? error.constructor.name;
  return { kind, status: error.status ?? null, type: error.error?.error?.type ?? null, message: error.message };
}

const cases = {
  // The raw events, put together as users do it.
  raw: async (request) => {
    const out = { types: [], text: '', usage: null, error: null };
    try {
      for await (const event of await client.messages.create({ ...request, stream: true })) {
        out.types.push(event.type);
        if (event.type === 'content_block_delta' && event.delta.type === 'text_delta') out.text += event.delta.text;
        if (event.type === 'message_delta') out.usage = event.usage;
      }
    } catch (error) {
      out.error = thrown(error);
    }
    return out;
  },
  helper: async (request) => {
    const seen = { streamed: '', thought: '', json: 0 };
    const stream = client.messages.stream(request);
    stream.on('text', (delta) => (seen.streamed += delta));
    stream.on('thinking', (delta) => (seen.thought += delta));
    stream.on('inputJson', () => (seen.json += 1));
    const message = await stream.finalMessage();
    return { ...seen, ...told(message) };
  },
  'helper-fails': async (request) => {
    try {
      await client.messages.stream(request).finalMessage();
      return { error: null };
    } catch (error) {
      return { error: thrown(error) };
    }
  },
  whole: async (request) => {
    try {
      return told(await client.messages.create(request));
    } catch (error) {
      return { error: thrown(error) };
    }
  },
  count: async ({ model }) => client.messages.countTokens({ model, messages }),
  models: async () => {
    const names = [];
    for await (const each of client.models.list({ limit: 2 })) names.push(each.id);
    return { names };
  },
};

await serve(([name, model]) => cases[name]({ model, max_tokens: 99, messages }));
