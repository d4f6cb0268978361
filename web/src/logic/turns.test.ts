import { describe, expect, test } from 'vitest';
import type { Service } from '../api/types';
import { AT_A_POLL, AT_FIRST, turn } from './turns';

const service = (at: number, backends: Record<string, number> = { serving: 2 }) =>
  ({ name: `s${at}`, backends, all_down_seconds: null }) as unknown as Service;
const services = (number: number) => Array.from({ length: number }, (_, at) => service(at));
const nobody: ReadonlySet<string> = new Set();

describe('whose backends are read', () => {
  test('few: all, each time', () => {
    const all = services(5);
    const read = new Map(all.map(({ name }) => [name, 3]));
    expect(new Set(turn(all, nobody, read))).toEqual(new Set(['s0', 's1', 's2', 's3', 's4']));
  });

  test('many: all at first, then so many in turn until each was', () => {
    const all = services(100);
    expect(turn(all, nobody, new Map())).toHaveLength(100);
    expect(turn(services(1000), nobody, new Map())).toHaveLength(AT_FIRST);
    const read = new Map(all.map(({ name }) => [name, 0]));
    for (let at = 1; at <= Math.ceil(100 / AT_A_POLL); at++) {
      const now = turn(all, nobody, read);
      expect(now).toHaveLength(AT_A_POLL);
      for (const name of now) read.set(name, at);
    }
    expect(Math.min(...read.values())).toBe(1);
  });

  test('who is looked at, heard of or in trouble does not wait, and keeps nobody waiting for ever', () => {
    const all = services(100).map((one, at) => (at >= 50 ? service(at, { serving: 1, down: 1 }) : one));
    const read = new Map(all.map(({ name }) => [name, 7]));
    read.delete('s20');
    const now = turn(all, new Set(['s10']), read);
    expect(now.slice(0, 3)).toEqual(['s10', 's20', 's50']);
    for (let at = 8; at < 40; at++) for (const name of turn(all, new Set(['s10']), read)) read.set(name, at);
    expect(Math.min(...read.values())).toBeGreaterThan(7);
    expect(read.get('s10')).toBe(39);
  });
});
