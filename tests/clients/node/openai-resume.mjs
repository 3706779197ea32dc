// The official npm client goes on with an answer that is under way: node openai-resume.mjs BASE; see lines.mjs;
// args: MODEL PROMPT. After each event another reader asks for what follows it, and reads to the end.
import OpenAI from 'openai';
import { serve } from './lines.mjs';

const [baseURL] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0, timeout: 20_000 });

async function all(events) {
  const found = [];
  for await (const event of await events) found.push(event);
  return found;
}

await serve(async ([model, input], most) => {
  const seen = [];
  const rests = [];
  let id = null;
  for await (const event of await client.responses.create({ model, input, stream: true, max_output_tokens: most })) {
    seen.push(event);
    id ??= event.response.id;
    rests.push(all(client.responses.retrieve(id, { stream: true, starting_after: event.sequence_number })));
  }
  const last = rests.pop(); // nothing follows the last one
  const refused = await last.then(() => null, (error) => ({ status: error.status, code: error.code }));
  const helped = client.responses.stream({ response_id: id, starting_after: 2 });
  const told = await all(helped);
  return { seen, rests: await Promise.all(rests), refused, told, final: await helped.finalResponse() };
});
