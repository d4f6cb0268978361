// Which rows of backends are shown, and in which order.
import type { Backend } from '../api/types';

export interface Row {
  service: string;
  policy: string;
  backend: Backend;
}

export type Column = 'service' | 'standing' | 'share' | 'in_flight' | 'latency' | 'failed';

const STANDINGS = ['down', 'ejected', 'probing', 'disabled', 'draining', 'unproven', 'serving'];

const keys: Record<Column, (row: Row) => number> = {
  service: () => 0,
  standing: (row) => STANDINGS.indexOf(row.backend.standing),
  share: (row) => -row.backend.share_got,
  in_flight: (row) => -row.backend.in_flight,
  latency: (row) => -(row.backend.latency.mean_ms ?? -1),
  failed: (row) => -failedShare(row.backend),
};

/** 0 without attempts, so that such rows sort last; `noTraffic` says which they are. */
export function failedShare({ attempts }: Backend): number {
  return attempts.finished > 0 ? attempts.failed / attempts.finished : 0;
}

export const noTraffic = ({ attempts }: Backend): boolean => attempts.picked === 0;

export function rowsOf(all: Row[], text: string, standing: string, column: Column): Row[] {
  const wanted = text.trim().toLowerCase();
  const has = ({ service, backend }: Row) =>
    `${service} ${backend.id} ${backend.address ?? ''} ${backend.zone ?? ''} ${backend.reason}`.toLowerCase().includes(wanted);
  const key = keys[column];
  return all
    .filter((row) => (standing === '' || row.backend.standing === standing) && (wanted === '' || has(row)))
    .sort((a, b) => key(a) - key(b) || compare(a.service, b.service) || compare(a.backend.id, b.backend.id));
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export const standings = STANDINGS;
