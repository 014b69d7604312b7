import type { ByteStream, Call, HijackCall, Later, ProgressCall } from '../engine/call.ts';
import type { Engine } from '../engine/engine.ts';
import type { Contract, OperationName } from './contract/contract.ts';
import type { AnswerOf, ArgsOf, EndpointSpec } from './contract/endpoint.ts';

/**
 * The engine function that an endpoint needs. Its type follows from the endpoint, so a function
 * whose answer lacks a field does not compile.
 */
export type HandlerOf<E extends EndpointSpec> = {
  value: (engine: Engine, args: ArgsOf<E>, call: Call) => Promise<AnswerOf<E>>;
  later: (engine: Engine, args: ArgsOf<E>, call: Call) => Promise<Later<AnswerOf<E>>>;
  progress: (engine: Engine, args: ArgsOf<E>, call: ProgressCall) => Promise<void>;
  bytes: (engine: Engine, args: ArgsOf<E>, call: Call) => Promise<ByteStream>;
  lines: (engine: Engine, args: ArgsOf<E>, call: Call) => Promise<ByteStream>;
  hijack: (engine: Engine, args: ArgsOf<E>, call: HijackCall) => Promise<void>;
  websocket: (engine: Engine, args: ArgsOf<E>, call: HijackCall) => Promise<void>;
}[E['answer']['kind']];

/** One function for each of `Names`; leaving one out does not compile. */
export type Handlers<Names extends OperationName = OperationName> = {
  readonly [N in Names]: HandlerOf<Contract[N]>;
};

/** A handler as the server calls it, after the kind was looked at. */
export type AnyHandler = (engine: Engine, args: unknown, call: unknown) => Promise<unknown>;
