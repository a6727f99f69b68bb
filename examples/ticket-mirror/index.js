// @ts-check
// Follows `ticket:*` on NATS JetStream and keeps a copy of all tickets.
//
//   node index.js [--nats URL] [--listen PORT] [--once]
//
// --listen serves the copy as JSON on 127.0.0.1; --once prints what is known when all is read, and ends.

import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { connect } from '@nats-io/transport-node';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { Mirror } from './mirror.js';

const STREAM = /^LEDGER_V1_[0-9a-f]{4}$/;
const LOOK_MS = 2000;

const { values: options } = parseArgs({
  options: {
    nats: { type: 'string', default: 'nats://127.0.0.1:4222' },
    listen: { type: 'string' },
    once: { type: 'boolean', default: false },
  },
});

const mirror = new Mirror();
const connection = await connect({ servers: options.nats.split(','), maxReconnectAttempts: -1 });
const manager = await jetstreamManager(connection);

/** The stream of the ledger's newest lineage. */
async function newest() {
  const names = [];
  for await (const name of manager.streams.names()) if (STREAM.test(name)) names.push(name);
  return names.sort().at(-1);
}

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Reads a stream until a newer one is there; with --once, until there is nothing more to read.
 * @param {string} stream
 */
async function follow(stream) {
  // Without a name of its own, a consumer is "ordered": the client begins it anew where a message was lost on the way.
  const consumer = await jetstream(connection).consumers.get(stream, { filter_subjects: 'ledger.v1.ticket.>' });
  if (options.once && (await consumer.info()).num_pending === 0) return;
  const messages = await consumer.consume();
  const look = setInterval(async () => {
    if ((await newest().catch(() => stream)) !== stream) messages.stop();
  }, LOOK_MS);
  for await (const message of messages) {
    /** @type {import('./mirror.js').Ticket} */
    const ticket = message.json();
    if (mirror.take((name) => message.headers?.get(name) ?? '', ticket) && !options.once) {
      console.log(`${message.seq}\t${ticket.id}\tv${ticket.version}\t${ticket.status}\t${ticket.price} ${ticket.currency}\t${ticket.title}`);
    }
    if (options.once && message.info.pending === 0) messages.stop();
  }
  clearInterval(look);
}

if (options.listen !== undefined) {
  const server = createServer((_, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ lineage: mirror.lineage, repeated: mirror.repeated, tickets: mirror.list() }));
  });
  server.listen(Number(options.listen), '127.0.0.1', () => {
    const address = server.address();
    console.error(`copy: http://127.0.0.1:${typeof address === 'object' ? address?.port : options.listen}`);
  });
}

for (;;) {
  const stream = await newest();
  if (stream === undefined) await pause(LOOK_MS);
  else await follow(stream);
  if (options.once && stream !== undefined) break;
}
console.log(JSON.stringify({ lineage: mirror.lineage, repeated: mirror.repeated, tickets: mirror.list() }));
await connection.drain();
