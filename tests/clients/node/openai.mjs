// The official npm client against a relay: node openai.mjs BASE_URL; see lines.mjs; args: CASE MODEL.
import OpenAI from 'openai';
import { serve } from './lines.mjs';

const [baseURL] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0, timeout: 20_000 });
const create = (model, prompt, more = {}) =>
  client.chat.completions.create({ model, messages: [{ role: 'user', content: prompt }], ...more });

const weather = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Weather in a city',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
};
const trip = {
  type: 'json_schema',
  json_schema: {
    name: 'trip',
    strict: true,
    schema: {
      type: 'object',
      properties: { city: { type: 'string' }, days: { type: 'integer' } },
      required: ['city', 'days'],
      additionalProperties: false,
    },
  },
};

/** Everything that a stream says, put together as users do it. */
async function gather(stream) {
  const out = { chunks: 0, text: ['', ''], calls: [], reasons: [], usage: null };
  for await (const chunk of stream) {
    out.chunks += 1;
    out.usage = chunk.usage ?? out.usage;
    for (const choice of chunk.choices) {
      out.text[choice.index] += choice.delta.content ?? '';
      if (choice.finish_reason) out.reasons.push(choice.finish_reason);
      for (const call of choice.delta.tool_calls ?? []) {
        const entry = (out.calls[call.index] ??= { name: '', arguments: '' });
        entry.name += call.function?.name ?? '';
        entry.arguments += call.function?.arguments ?? '';
      }
    }
  }
  return out;
}

/** What an exception is to somebody who catches it. */
function told(error) {
  const { status, code, param, message } = error;
  const kind = Object.keys(OpenAI).find((key) => OpenAI[key] === error.constructor) ?? error.constructor.name;
  const retryAfter = error.headers?.get?.('retry-after-ms') ?? null;
  return { kind, status: status ?? null, code: code ?? null, param: param ?? null, message, retryAfter };
}

const cases = {
  text: async (model) => gather(await create(model, 'Grüße, 世界 👩‍👩‍👧', { stream: true })),
  usage: async (model) => gather(await create(model, 'one two three', { stream: true, stream_options: { include_usage: true } })),
  alternatives: async (model) => gather(await create(model, 'Tell me of the sea', { stream: true, n: 2 })),
  tool: async (model) => gather(await create(model, 'Weather in Oslo?', { stream: true, tools: [weather] })),
  tools: async (model) => gather(await create(model, 'What is the weather in Oslo and Kyoto?', { stream: true, tools: [weather] })),
  structured: async (model) => gather(await create(model, 'Three days in Oslo', { stream: true, response_format: trip })),
  whole: async (model) => {
    const completion = await create(model, 'one two three');
    return { text: completion.choices[0].message.content, usage: completion.usage };
  },
  models: async () => {
    const names = [];
    for await (const each of client.models.list()) names.push(each.id);
    return { names };
  },
  helper: async (model) => {
    const seen = { deltas: 0, text: '' };
    const stream = client.chat.completions.stream({ model, messages: [{ role: 'user', content: 'one two three' }] });
    stream.on('content', (delta) => {
      seen.deltas += 1;
      seen.text += delta;
    });
    const completion = await stream.finalChatCompletion();
    return { ...seen, final: completion.choices[0].message.content, reason: completion.choices[0].finish_reason };
  },
  'helper-tools': async (model) => {
    const stream = client.chat.completions.stream({
      model,
      messages: [{ role: 'user', content: 'What is the weather in Oslo and Kyoto?' }],
      tools: [weather],
    });
    const message = await stream.finalMessage();
    return { calls: message.tool_calls.map((call) => JSON.parse(call.function.arguments).city) };
  },
  // A failure, wherever it comes: what was read before it, and what was thrown (nothing: null).
  fails: async (model) => {
    let text = '';
    try {
      for await (const chunk of await create(model, 'hi', { stream: true })) text += chunk.choices[0]?.delta?.content ?? '';
      return { text, error: null };
    } catch (error) {
      return { text, error: told(error) };
    }
  },
  'helper-fails': async (model) => {
    try {
      await client.chat.completions.stream({ model, messages: [{ role: 'user', content: 'hi' }] }).finalContent();
      return { error: null };
    } catch (error) {
      return { error: told(error) };
    }
  },
  // Leave after the third token. The process stays: its end would close the connection too, and prove nothing.
  abort: async (model) => {
    const stream = await create(model, 'hi', { stream: true, metadata: { 'x-sim-tokens': '20000', 'x-sim-interval-ms': '5' } });
    let tokens = 0;
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta?.content && ++tokens === 3) stream.controller.abort();
    }
    return { tokens, aborted: stream.controller.signal.aborted };
  },
  break: async (model) => {
    const stream = await create(model, 'hi', { stream: true, metadata: { 'x-sim-tokens': '20000', 'x-sim-interval-ms': '5' } });
    let tokens = 0;
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta?.content && ++tokens === 3) break;
    }
    return { tokens, aborted: stream.controller.signal.aborted };
  },
};

await serve(([name, model]) => cases[name](model));
