import { expect, test } from 'vitest';
import type { Backend } from '../api/types';
import { failedShare, noTraffic, rowsOf, type Row } from './table';

function row(service: string, id: string, standing = 'serving', failed = 0, mean_ms: number | null = null): Row {
  const attempts = { picked: failed, finished: failed * 2, failed, abandoned: 0 };
  const backend = { id, standing, reason: 'x', attempts, latency: { mean_ms, quantiles_ms: {} } };
  return { service, policy: 'p', backend: backend as unknown as Backend };
}

const rows = [row('b', 'two', 'serving', 1, 5), row('a', 'one', 'down'), row('a', 'three', 'draining', 0, 9)];
const ids = (found: Row[]) => found.map((one) => one.backend.id);

test('rows are sorted and filtered', () => {
  expect(ids(rowsOf(rows, '', '', 'service'))).toEqual(['one', 'three', 'two']);
  expect(ids(rowsOf(rows, '', '', 'standing'))).toEqual(['one', 'three', 'two']);
  expect(ids(rowsOf(rows, '', '', 'latency'))).toEqual(['three', 'two', 'one']);
  expect(ids(rowsOf(rows, '', '', 'failed'))).toEqual(['two', 'one', 'three']);
  expect(ids(rowsOf(rows, ' THR', '', 'service'))).toEqual(['three']);
  expect(ids(rowsOf(rows, '', 'down', 'service'))).toEqual(['one']);
});

test('without traffic there is no share of failures', () => {
  expect([failedShare(row('a', 'x').backend), noTraffic(row('a', 'x').backend)]).toEqual([0, true]);
});
