// What an explanation and a record of a decision say, as far as the page shows it: the keys of docs/explain.md, which the OpenAPI file leaves open.

export interface Candidate {
  backend: string;
  standing: string;
  tier: number;
  zone: string | null;
  excluded: string | null;
  score: number | null;
  share: number;
  in_flight: number;
}

export interface Decision {
  service: string;
  policy: string;
  rung: string;
  /** Of a split. */
  share?: number;
  backend: string | null;
  refusal: string | null;
  candidates: Candidate[];
  candidates_all: number;
  key: string | null;
  affinity: { by: string; kept: boolean } | null;
  trial: boolean;
  waits: boolean;
  after_ms?: number;
  waited_ms?: number;
  beside?: boolean;
  timers?: { connect_ms: number; per_try_ms: number; exchange_ms: number };
  attempt?: { ended_ms: number; connect_ms: number | null; head_ms: number | null; status: number | null; reason: string | null } | null;
}

export interface Explanation {
  listener: string;
  client: string;
  rule: { name: string; priority: number } | null;
  passed: { name: string; condition: string; /** Null: that is for who may read the configuration. */ wants: string[] | null; has: string | null }[];
  passed_all: number;
  action: string;
  status?: number | null;
  reason?: string | null;
  location?: string | null;
  forwarded?: { path: string; query: string | null; host: string | null } | null;
  services?: Decision[] | null;
  limits: { of: string; name: string; limit: string; allow: string; passes: boolean }[];
}

/** In a sentence: whom it went to, or why to nobody. */
export function outcome(decision: Decision): string {
  const { backend, refusal, service, policy } = decision;
  const among = decision.candidates.filter((one) => one.excluded === null).length;
  if (backend === null) return `Nobody of ${service}: ${(refusal ?? 'nothing may be picked').replaceAll('_', ' ')}`;
  const how = decision.trial
    ? 'the trial of a breaker that is half open'
    : decision.affinity?.kept
      ? `its client is kept there by ${decision.affinity.by}`
      : among === 1
        ? 'the only one that may be picked'
        : `by ${policy.replaceAll('_', ' ')} among ${among}`;
  return `${backend} of ${service}: ${how}`;
}

/** In a sentence: what came of an attempt. */
export function attempt({ attempt: made }: Decision): string {
  if (made === undefined) return '';
  if (made === null) return 'No attempt was made.';
  const what = made.status ?? (made.reason ?? 'no answer').replaceAll('_', ' ');
  return `Ended after ${made.ended_ms.toFixed(1)} ms: ${what}.`;
}

/** In a sentence: what is done with the request. */
export function action(said: Explanation): string {
  switch (said.action) {
    case 'forward': {
      const to = said.forwarded;
      const query = to?.query ? `?${to.query}` : '';
      return to ? `Forwarded: the backend gets ${to.path}${query}${to.host ? ` of host ${to.host}` : ''}.` : 'Forwarded.';
    }
    case 'redirect':
      return `Redirected with ${said.status} to ${said.location}.`;
    default:
      return `Answered here with ${said.status}${said.reason ? `, ${said.reason.replaceAll('_', ' ')}` : ''}.`;
  }
}
