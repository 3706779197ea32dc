// The two snippets that everybody writes first, as they are written: node textbook.mjs CASE URL [BODY].
// One line of JSON: the text, how often the connection was opened, and whether [DONE] came.
// "source" wants node --experimental-eventsource: undici's EventSource, which is Node's own.
const [name, url, body] = process.argv.slice(2);
const seen = { text: '', done: false, error: null, opened: 0, status: 0, events: 0 };

async function fetched({ careful }) {
  const response = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
  seen.status = response.status;
  if (!response.ok) {
    seen.error = (await response.json()).error;
    return;
  }
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let buffer = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    buffer += decoder.decode(value, { stream: true });
    const parts = buffer.split('\n\n');
    buffer = parts.pop();
    for (const line of parts) {
      if (careful && !line.startsWith('data: ')) continue;
      if (line === 'data: [DONE]') {
        seen.done = true;
        return;
      }
      const event = JSON.parse(line.slice(6));
      seen.events += 1;
      if (event.error) seen.error = event.error;
      else seen.text += event.text;
    }
  }
}

function source({ closes }) {
  return new Promise((resolve) => {
    const source = new EventSource(url);
    source.onopen = () => (seen.opened += 1);
    source.onmessage = ({ data }) => {
      if (data === '[DONE]') {
        seen.done = true;
        if (closes) {
          source.close();
          resolve();
        }
        return;
      }
      const event = JSON.parse(data);
      if (event.error) seen.error = event.error;
      else seen.text += event.text;
    };
    source.onerror = () => source.readyState === EventSource.CLOSED && resolve();
  });
}

// An EventSource on a native stream, with a ticket: named events, and the relay's 204 is what ends it.
function native() {
  return new Promise((resolve) => {
    const source = new EventSource(url);
    source.onopen = () => (seen.opened += 1);
    source.addEventListener('text', ({ data }) => (seen.text += JSON.parse(data).t));
    source.addEventListener('done', () => (seen.done = true));
    source.onerror = () => source.readyState === EventSource.CLOSED && resolve();
  });
}

const cases = {
  fetch: () => fetched({ careful: true }),
  careless: () => fetched({ careful: false }),
  source: () => source({ closes: true }),
  endless: () => source({ closes: false }),
  native,
};
const awake = setInterval(() => {}, 1000); // undici waits for its reconnection with a timer that keeps nobody up
await cases[name]();
clearInterval(awake);
process.stdout.write(JSON.stringify(seen) + '\n');
