// The official npm client over bodies of Responses streams: a JSON array of them on standard input -> one of results,
// each what its accumulating helper and its raw stream make of the body, or how they failed.
import { readFileSync } from 'node:fs';
import OpenAI from 'openai';

function over(body) {
  const fetch = async () => new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  return new OpenAI({ baseURL: 'http://relay.test/v1', apiKey: 'none', maxRetries: 0, fetch });
}

function told(error) {
  const { code, message } = error;
  return { error: { raised: error instanceof OpenAI.APIError, code: code ?? null, message } };
}

async function helper(body) {
  try {
    const response = await over(body).responses.stream({ model: 'm', input: 'Hi' }).finalResponse();
    const { id, status, output, usage, output_text } = response;
    return { id, status, output, usage, output_text };
  } catch (error) {
    return told(error);
  }
}

async function raw(body) {
  const texts = {};
  const numbers = [];
  try {
    const events = await over(body).responses.create({ model: 'm', input: 'Hi', stream: true });
    for await (const event of events) {
      numbers.push(event.sequence_number);
      if (event.type === 'response.output_text.delta') {
        texts[event.output_index] = (texts[event.output_index] ?? '') + event.delta;
      }
    }
    return { texts, numbers };
  } catch (error) {
    return { texts, ...told(error) };
  }
}

const bodies = JSON.parse(readFileSync(0, 'utf-8'));
const results = [];
for (const body of bodies) results.push({ helper: await helper(body), raw: await raw(body) });
process.stdout.write(JSON.stringify(results) + '\n');
