// The node side of bench/sse_decoders.py: times npm's eventsource-parser on a recording.
//
//     node bench/eventsource_parser.mjs PACKAGE RECORDING SIZES ROUNDS
//
// PACKAGE is the folder of the package, SIZES are chunk sizes in bytes, comma separated, 0 for one event per chunk.
// Prints JSON: versions, and for each size the best time of ROUNDS, the number of events and the SHA-256 of their data.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [packageFolder, recordingFile, sizes, rounds] = process.argv.slice(2);
const manifest = JSON.parse(readFileSync(join(packageFolder, "package.json"), "utf8"));
const entry = manifest.exports?.["."];
const main = typeof entry === "string" ? entry : (entry?.import?.default ?? entry?.import ?? entry?.default ?? manifest.main);
const { createParser } = await import(pathToFileURL(resolve(packageFolder, main)));

const recording = readFileSync(recordingFile);

function cut(size) {
  const blank = recording.includes("\r") ? "\r\n\r\n" : "\n\n";
  const chunks = [];
  for (let start = 0; start < recording.length; ) {
    const end = size > 0 ? start + size : recording.indexOf(blank, start) + blank.length;
    chunks.push(recording.subarray(start, end));
    start = end;
  }
  return chunks;
}

// The events of each chunk, as a list: what the Python decoders give. (A callback that only counts lets V8 see that
// the events are never used, and it makes none.)
function* batches(chunks) {
  const text = new TextDecoder(); // the parser takes strings: decoding the bytes is part of the work, as it is for all
  let batch = [];
  const parser = createParser({ onEvent: (event) => batch.push(event) });
  for (const chunk of chunks) {
    parser.feed(text.decode(chunk, { stream: true }));
    yield batch;
    batch = [];
  }
}

const results = sizes.split(",").map(Number).map((size) => {
  const chunks = cut(size);
  const hash = createHash("sha256");
  for (const batch of batches(chunks)) for (const event of batch) hash.update(event.data).update("\n");
  let best = Infinity;
  let events = 0;
  for (let round = 0; round < Number(rounds); round++) {
    events = 0;
    const start = process.hrtime.bigint();
    for (const batch of batches(chunks)) events += batch.length;
    best = Math.min(best, Number(process.hrtime.bigint() - start) / 1e9);
  }
  return { size, seconds: best, events, sha256: hash.digest("hex") };
});

console.log(JSON.stringify({ version: manifest.version, node: process.version, results }));
