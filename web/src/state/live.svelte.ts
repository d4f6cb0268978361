// What the page knows of the instance: polled while it is seen, told by events in between.
import { ApiError, name, Unreachable } from '../api/client';
import type { Alert, AlertList, Backend, Certificate, Event, Limit, Service, Version } from '../api/types';
import { kept, rate, read, unknown, type Rate, type Reading } from '../logic/rates';
import { backoff_ms, StreamParser } from '../logic/stream';
import { turn } from '../logic/turns';
import { caller } from './caller.svelte';

const POLL_MS = 2000;
/** Between polls that events ask for, so that a storm of them is read a few times a second. */
const SOON_MS = 250;
/** An hour of readings. */
const MOST_RATES = 1800;
const MOST_EVENTS = 500;
const AT_ONCE = 6;
/** The server's comments come every five seconds; thrice that without a word is a lost line. */
const SILENCE_MS = 15_000;

class Live {
  version = $state.raw<Version | null>(null);
  services = $state.raw<Service[]>([]);
  backends = $state.raw<Map<string, Backend[]>>(new Map());
  certificates = $state.raw<Certificate[]>([]);
  limits = $state.raw<Limit[]>([]);
  events = $state.raw<Event[]>([]);
  alerts = $state.raw<Alert[]>([]);
  rates = $state.raw<Rate[]>([]);
  loaded = $state(false);
  trouble = $state('');
  stream = $state<'connecting' | 'open' | 'waiting' | 'refused'>('connecting');
  gap = $state('');
  restarts = $state(0);
  /** Services whose backends are in view: they are read at each poll. */
  looked: ReadonlySet<string> = new Set();

  private reading: Reading | null = null;
  private process: number | null = null;
  private stop: AbortController | null = null;
  private polling = false;
  /** It was asked for while it went on: what it read may be of before. */
  private again = false;
  private turns = 0;
  private writes = 0;
  private read = new Map<string, number>();

  begin(): () => void {
    caller.client.onWrote = (revision) => this.wrote(revision);
    const stop = new AbortController();
    this.stop = stop;
    const poll = () => void this.poll();
    const timer = setInterval(poll, POLL_MS);
    document.addEventListener('visibilitychange', poll, { signal: stop.signal });
    poll();
    void this.listen(stop.signal);
    return () => {
      clearInterval(timer);
      stop.abort();
      this.forget();
    };
  }

  /** Whoever comes next may be allowed less: nothing stays of what was read. */
  private forget(): void {
    this.version = null;
    this.services = [];
    this.backends = new Map();
    this.certificates = [];
    this.limits = [];
    this.alerts = [];
    this.events = [];
    this.rates = [];
    this.reading = null;
    this.read.clear();
    this.loaded = false;
  }

  /** What was written here is what runs, also where a poll that is under way was answered before it. */
  private wrote(revision: string): void {
    this.writes += 1;
    if (this.version) this.version = { ...this.version, configuration: { ...this.version.configuration, revision } };
  }

  async poll(): Promise<void> {
    if (document.hidden || this.stop?.signal.aborted) return;
    this.again = this.polling;
    if (this.polling) return;
    this.polling = true;
    const stop = this.stop;
    try {
      await this.readAll(stop?.signal);
      this.trouble = '';
    } catch (error) {
      this.trouble =
        error instanceof Unreachable ? 'The server does not answer. Tried again every two seconds.' : String(error);
    } finally {
      this.polling = false;
      if (this.again) setTimeout(() => void this.poll(), SOON_MS);
    }
  }

  private async readAll(signal: AbortSignal | undefined): Promise<void> {
    const { client } = caller;
    const writes = this.writes;
    const [version, services, certificates, limits, alerts] = await Promise.all([
      allowed('configuration:read', () => client.ask<Version>('/v1/version'), null),
      allowed('backends:read', () => client.all<Service>('/v1/services'), []),
      allowed('configuration:read', () => client.ask<Certificate[]>('/v1/certificates'), []),
      allowed('performance:read', () => client.ask<Limit[]>('/v1/limits'), []),
      allowed('health:read', async () => (await client.ask<AlertList>('/v1/alerts?state=open')).items, []),
    ]);
    if (signal?.aborted) return;
    const begun = version !== null && this.process !== null && version.process !== this.process;
    if (begun) this.restarts += 1;
    if (version) this.process = version.process;
    if (version && this.version && writes !== this.writes) version.configuration.revision = this.version.configuration.revision;
    const reading = read(services, Date.now());
    if (this.reading && !begun) this.rates = kept(this.rates, rate(this.reading, reading), MOST_RATES);
    else if (begun) this.rates = kept(this.rates, unknown(reading.at_ms), MOST_RATES);
    this.reading = reading;
    [this.version, this.services, this.certificates, this.limits] = [version, services, certificates, limits];
    this.alerts = alerts;
    await this.readBackends(services, signal);
    this.loaded = true;
  }

  private async readBackends(services: Service[], signal: AbortSignal | undefined): Promise<void> {
    const found = new Map(this.backends);
    const left = turn(services, this.looked, this.read);
    this.turns += 1;
    const worker = async () => {
      for (let next; (next = left.pop()) !== undefined && !signal?.aborted; ) {
        const path = `/v1/services/${name(next)}/backends`;
        found.set(next, await caller.client.all<Backend>(path).catch(gone));
        this.read.set(next, this.turns);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    if (signal?.aborted) return;
    const there = new Set(services.map((service) => service.name));
    for (const known of this.read.keys()) if (!there.has(known)) this.read.delete(known);
    this.backends = new Map(services.map((service) => [service.name, found.get(service.name) ?? []]));
  }

  /** An event is about one of them: its backends come with the next poll. */
  private heard(events: Event[]): void {
    for (const { service } of events) if (service) this.read.delete(service);
  }

  private async listen(signal: AbortSignal): Promise<void> {
    let last = '';
    for (let attempt = 0; !signal.aborted; attempt++) {
      this.stream = 'connecting';
      const parser = new StreamParser();
      parser.id = last;
      try {
        await this.follow(parser, signal, () => (attempt = 0));
      } catch (error) {
        if (error instanceof ApiError && [401, 403].includes(error.status)) {
          this.stream = 'refused';
          return;
        }
      }
      last = parser.id;
      if (signal.aborted) return;
      this.stream = 'waiting';
      await new Promise((done) => setTimeout(done, backoff_ms(attempt, Math.random())));
    }
  }

  private async follow(parser: StreamParser, signal: AbortSignal, opened: () => void): Promise<void> {
    const line = new AbortController();
    const end = () => line.abort();
    signal.addEventListener('abort', end);
    let silence = setTimeout(end, SILENCE_MS);
    try {
      const headers = caller.client.headers();
      headers.set('Accept', 'text/event-stream');
      if (parser.id) headers.set('Last-Event-ID', parser.id);
      const answer = await fetch('/v1/events', { headers, signal: line.signal, cache: 'no-store' });
      if (!answer.ok || !answer.body) throw new ApiError(answer.status, {});
      this.stream = 'open';
      opened();
      if (!parser.id) {
        const page = await caller.client.ask<{ items: Event[] }>('/v1/events');
        this.take(page.items);
      }
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let piece; !(piece = await reader.read()).done; ) {
        clearTimeout(silence);
        silence = setTimeout(end, SILENCE_MS);
        for (const message of parser.feed(piece.value)) {
          if (message.type === 'gap') this.gap = 'Some events were forgotten before they could be read.';
          else this.take([JSON.parse(message.data) as Event]);
        }
      }
    } finally {
      clearTimeout(silence);
      signal.removeEventListener('abort', end);
      line.abort();
    }
  }

  private take(events: Event[]): void {
    const known = new Set(this.events.map((event) => event.number));
    const fresh = events.filter((event) => !known.has(event.number));
    if (fresh.length === 0) return;
    this.events = [...this.events, ...fresh].sort((a, b) => a.number - b.number).slice(-MOST_EVENTS);
    this.heard(fresh);
    void this.poll();
  }
}

async function allowed<T>(scope: string, ask: () => Promise<T>, none: T): Promise<T> {
  if (!caller.may(scope)) return none;
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 403)) throw error;
    // Somebody has changed what this token may.
    await caller.begin();
    return none;
  }
}

/** A service may leave between two readings. */
function gone(error: unknown): Backend[] {
  if (error instanceof ApiError && error.status === 404) return [];
  throw error;
}

export const live = new Live();
