// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Mirror } from './mirror.js';

const id = '000000000000000100000000';

/**
 * @param {number} version
 * @param {number} [lineage]
 */
function event(version, lineage = 0) {
  const headers = { 'ce-specversion': '1.0', 'ce-type': 'ticket:updated', 'holdfast-lineage': String(lineage) };
  const ticket = { id, version, title: 'Floor', price: 20 + version, priceVersion: version, currency: 'USD', userId: id, status: 'available' };
  return /** @type {const} */ ([(/** @type {string} */ name) => headers[name] ?? '', /** @type {any} */ (ticket)]);
}

/**
 * All orders of some values.
 * @template T
 * @param {T[]} values
 * @returns {T[][]}
 */
function orders(values) {
  if (values.length < 2) return [values];
  return values.flatMap((value, at) => orders(values.toSpliced(at, 1)).map((rest) => [value, ...rest]));
}

test('whatever the order, and however often, the copy ends at the highest version', () => {
  for (const order of orders([0, 1, 2, 3])) {
    const mirror = new Mirror();
    for (const version of [...order, ...order.toReversed()]) mirror.take(...event(version));
    assert.deepEqual(mirror.list().map((ticket) => [ticket.version, ticket.price]), [[3, 23]], `${order}`);
    assert.ok(mirror.repeated >= 4, 'the second time told nothing new');
  }
});

test('a restored ledger begins the copy anew, and what is left of the old one is passed over', () => {
  const mirror = new Mirror();
  mirror.take(...event(7));
  assert.equal(mirror.take(...event(2, 1)), true);
  assert.equal(mirror.take(...event(8)), false);
  assert.deepEqual(mirror.list().map((ticket) => ticket.version), [2]);
});

test('events of other things are passed over', () => {
  const mirror = new Mirror();
  const [, ticket] = event(1);
  assert.equal(mirror.take((name) => (name === 'ce-type' ? 'order:created' : '1.0'), ticket), false);
  assert.equal(mirror.list().length, 0);
});
