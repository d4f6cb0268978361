// What is broken, since when, and why: the worst first.
import type { Alert, Backend, Certificate, Event, Limit, Service, Version } from '../api/types';
import { figure, percent, words } from './format';

export interface Trouble {
  level: 'error' | 'warning';
  what: string;
  why: string;
  /** How long already; null: not known. */
  seconds: number | null;
  where: string;
}

export interface Seen {
  services: Service[];
  backends: Map<string, Backend[]>;
  certificates: Certificate[];
  limits: Limit[];
  version: Version | null;
  events: Event[];
  alerts: Alert[];
  now_seconds: number;
}

/** An expiry that is nearer is told: two weeks, as issuers renew at 30 days. */
export const CERTIFICATE_SOON_SECONDS = 14 * 86_400;
export const LIMIT_NEAR = 0.8;

function ofServices({ services }: Seen): Trouble[] {
  return services
    .filter((service) => service.all_down_seconds != null)
    .map((service) => ({
      level: 'error',
      what: `${service.name}: too few healthy backends`,
      why: `picks stand on "${words(service.rung)}"`,
      seconds: service.all_down_seconds ?? null,
      where: '#services',
    }));
}

function ofBackends({ backends }: Seen): Trouble[] {
  const troubles: Trouble[] = [];
  for (const [service, members] of backends) {
    for (const member of members) {
      const what = `${service} / ${member.id}`;
      const out = !['serving', 'unproven'].includes(member.standing);
      const wanted = ['draining', 'disabled'].includes(member.standing);
      if (out) {
        troubles.push({
          level: wanted || member.standing === 'probing' ? 'warning' : 'error',
          what: `${what} is ${member.standing}`,
          why: words(member.reason),
          seconds: member.since_seconds,
          where: '#services',
        });
      } else if (member.breaker.gate !== 'closed') {
        const why = `${member.breaker.consecutive_failures} failures in a row`;
        troubles.push({ level: 'warning', what: `${what}: breaker ${words(member.breaker.gate)}`, why, seconds: null, where: '#services' });
      } else if (member.checks.failed_in_a_row > 0) {
        const why = `${member.checks.failed_in_a_row} checks failed in a row`;
        troubles.push({ level: 'warning', what: `${what}: checks fail`, why, seconds: null, where: '#services' });
      }
    }
  }
  return troubles;
}

function ofCertificates({ certificates }: Seen): Trouble[] {
  return certificates
    .filter((one) => one.seconds_left < CERTIFICATE_SOON_SECONDS)
    .map((one) => ({
      level: one.seconds_left <= 0 ? 'error' : 'warning',
      what: `certificate of ${one.names.join(', ') || one.file}`,
      why: one.seconds_left <= 0 ? 'has ended' : `ends in ${Math.floor(one.seconds_left / 86_400)} days`,
      seconds: one.seconds_left <= 0 ? -one.seconds_left : null,
      where: '#certificates',
    }));
}

function ofLimits({ limits }: Seen): Trouble[] {
  return limits
    .filter((one) => one.most > 0 && one.used / one.most >= LIMIT_NEAR)
    .map((one) => ({
      level: one.used >= one.most ? 'error' : 'warning',
      what: `${words(one.limit)} of ${one.name ?? one.of}`,
      why: `${one.used} of ${one.most} in use (${percent(one.used / one.most)})`,
      seconds: null,
      where: '#limits',
    }));
}

/** Open alerts for which somebody is called. Who is down is told of as a backend. */
function ofAlerts({ alerts, now_seconds }: Seen): Trouble[] {
  return alerts
    .filter((one) => one.state === 'open' && one.kind !== 'down' && !one.silenced)
    .map((one) => {
      const { value, limit, unit } = one.evidence ?? {};
      const measured = value != null && limit != null ? `${figure(value, unit)} against ${figure(limit, unit)}` : 'see the alert';
      return {
        level: one.severity === 'critical' ? 'error' : 'warning',
        what: `${[one.service, one.backend].filter(Boolean).join(' / ')}: ${words([one.kind, one.metric].filter(Boolean).join(' '))}`,
        why: one.acknowledged ? `${measured}; noted by ${one.acknowledged.by}` : measured,
        seconds: now_seconds - one.since_seconds,
        where: '#alerts',
      };
    });
}

/** What runs is not what somebody wants, or will not be after a restart. */
function ofConfiguration({ version, events, now_seconds }: Seen): Trouble[] {
  const all: Trouble[] = [];
  const since = (kind: string) => {
    const last = events.findLast((event) => event.kind === kind);
    return { seconds: last ? now_seconds - last.at_seconds : null, detail: last?.detail ?? null };
  };
  const { reload_refused, files_refused, kept } = version?.configuration ?? {};
  if (reload_refused || files_refused) {
    const { seconds, detail } = since('reload_refused');
    const what = reload_refused ? 'the last reload was refused' : 'a certificate or the tokens were refused';
    all.push({ level: 'error', what, why: detail ?? 'what ran before goes on', seconds, where: '#events' });
  }
  if (kept === 'failing') {
    const why = 'what was changed is lost by a restart';
    all.push({ level: 'error', what: 'the disk does not take changes', why, seconds: since('overlay_failing').seconds, where: '#events' });
  }
  return all;
}

export function troubles(seen: Seen): Trouble[] {
  const all = [ofConfiguration, ofServices, ofBackends, ofAlerts, ofCertificates, ofLimits].flatMap((of) => of(seen));
  if (seen.version?.draining) {
    all.unshift({ level: 'warning', what: 'this process drains', why: 'it takes no new connections', seconds: null, where: '#events' });
  }
  return all.sort((one, other) => Number(one.level === 'warning') - Number(other.level === 'warning'));
}
