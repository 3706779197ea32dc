// What the clients of the matrix share: requests in, a line of JSON each; outcomes out, a line of JSON each.
// A request: { client, url, op: 'ask' | 'follow', task, model, first, results }. `url`: the relay's. `first` is the outcome
// that calls tools.
import { createInterface } from 'node:readline';

export const fresh = () => ({ text: '', reasoning: '', calls: [], refusal: '', usage: null, finish: null, error: null });

/** An exception, as somebody who catches it sees it. `classes`: the SDK, which knows its own by name. */
export function failure(error, classes = {}) {
  const name = Object.keys(classes).find((key) => classes[key] === error.constructor) ?? error.constructor.name;
  return { kind: name, message: String(error.message), status: error.status ?? null };
}

/** A function of an address, called once for each. */
export function oncePer(make) {
  const made = new Map();
  return (url) => {
    if (!made.has(url)) made.set(url, make(url));
    return made.get(url);
  };
}

/** Answer until the input ends. `clients`: name -> (request, outcome) -> promise; it fills the outcome. */
export async function serve(clients, classes) {
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    const outcome = fresh();
    try {
      await clients[request.client](request, outcome);
    } catch (error) {
      outcome.error = failure(error, classes);
    }
    process.stdout.write(JSON.stringify(outcome) + '\n');
  }
}
