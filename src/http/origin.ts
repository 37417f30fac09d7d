// Where does a request come from? From the socket, or from a proxy in front that the operator trusts.
import type { FastifyRequest } from 'fastify';
import type { Origin } from '../forwarding/request-headers.ts';
import { clientAddress, type IsTrusted, plainAddress } from '../policy/client-address.ts';

export interface ReadOrigin {
  clientAddress(request: FastifyRequest): string;
  /** What upstreams are told in X-Forwarded-*. */
  forwarded(request: FastifyRequest): Origin;
}

/** @param publicUrl tells scheme and port where no trusted proxy does: TLS may end in front of the gateway */
export function originReader(publicUrl: string, isTrusted: IsTrusted): ReadOrigin {
  const publicProto = new URL(publicUrl).protocol.slice(0, -1);
  const told = (request: FastifyRequest, name: string) =>
    isTrusted(peerOf(request)) ? text(request, name) : undefined;
  return {
    clientAddress: (request) => clientAddress(peerOf(request), text(request, 'x-forwarded-for'), isTrusted),
    forwarded(request) {
      const peer = peerOf(request);
      const before = told(request, 'x-forwarded-for');
      const toldProto = told(request, 'x-forwarded-proto');
      const proto = toldProto === 'http' || toldProto === 'https' ? toldProto : publicProto;
      const host = told(request, 'x-forwarded-host') ?? request.headers.host ?? '';
      const port = /:(\d+)$/.exec(host)?.[1] ?? (proto === 'https' ? '443' : '80');
      return { forwardedFor: before === undefined ? peer : `${before}, ${peer}`, proto, host, port };
    },
  };
}

function peerOf(request: FastifyRequest): string {
  return plainAddress(request.raw.socket.remoteAddress ?? '');
}

function text(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}
