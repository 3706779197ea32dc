// What scripts share that answer many tests from one process: a request is a line of JSON, and so is its answer.
// A request: { args: [...], input }. An answer: { value }, or { threw } with a stack.
import { createInterface } from 'node:readline';

/** Answer until the input ends. `run`: (args, input) -> promise of a value. */
export async function serve(run) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { args, input } = JSON.parse(line);
    let answer;
    try {
      answer = { value: await run(args, input) };
    } catch (error) {
      answer = { threw: String(error?.stack ?? error) };
    }
    process.stdout.write(JSON.stringify(answer) + '\n');
  }
}
