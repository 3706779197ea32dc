// npm's eventsource-parser on the raw bytes: node events.mjs URL [BODY] -> one line of JSON, all events in order.
import { createParser } from 'eventsource-parser';

const [url, body] = process.argv.slice(2);
const events = [];
const comments = [];
const errors = [];
const parser = createParser({
  onEvent: ({ id = null, event = null, data }) => events.push({ id, event, data }),
  onComment: (comment) => comments.push(comment),
  onError: (error) => errors.push(String(error)),
});
const response = await fetch(url, {
  method: body ? 'POST' : 'GET',
  headers: { accept: 'text/event-stream', ...(body ? { 'content-type': 'application/json' } : {}) },
  body,
});
const decoder = new TextDecoder();
for await (const bytes of response.body) parser.feed(decoder.decode(bytes, { stream: true }));
parser.feed(decoder.decode());
process.stdout.write(JSON.stringify({ type: response.headers.get('content-type'), events, comments, errors }) + '\n');
