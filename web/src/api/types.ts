// Names for what docs/openapi.json says; schema.d.ts is generated from it.
import type { components } from './schema';

type Schemas = components['schemas'];
export type Service = Schemas['Service'];
export type Backend = Schemas['Backend'];
export type Version = Schemas['Version'];
export type Limit = Schemas['Limit'];
export type Certificate = Schemas['Certificate'];
export type Problem = Schemas['Problem'];
export type Event = Schemas['Event'];
export type Revision = Schemas['Revision'];
export type Between = Schemas['Between'];
export type FailedRequests = Schemas['FailedRequests'];
export type FailedRequest = Schemas['Request'];
export type DecisionRecord = Schemas['DecisionRecord'];
export type Decisions = Schemas['Decisions'];
export type Rule = Schemas['Rule'];
export type Page<T> = { items: T[]; next?: string | null; total: number };
