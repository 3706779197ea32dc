// The official npm client, which tries again by itself: node openai-retries.mjs; see lines.mjs; args: BASE MODEL KEY.
import OpenAI from 'openai';
import { serve } from './lines.mjs';

await serve(async ([baseURL, model, key]) => {
  const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 2, timeout: 20_000 });
  const messages = [{ role: 'user', content: 'Tell me of the sea.' }];
  const options = { headers: { 'Idempotency-Key': key } };
  const body = { model, messages, stream: true, max_tokens: 30 };
  const { data, response } = await client.chat.completions.create(body, options).withResponse();
  let text = '';
  for await (const chunk of data) text += chunk.choices[0]?.delta?.content ?? '';
  return { text, stream: response.headers.get('x-tokenwire-stream') };
});
