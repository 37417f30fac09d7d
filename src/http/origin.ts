// Where does a request come from? From the socket, or from a proxy in front that the operator trusts.
import type { FastifyRequest } from 'fastify';
import { GatewayError } from '../errors.ts';
import type { Origin } from '../forwarding/request-headers.ts';
import { clientAddress, type IsTrusted, plainAddress } from '../policy/client-address.ts';
import { isWellFormedHost } from '../policy/host.ts';

export interface ReadOrigin {
  clientAddress(request: FastifyRequest): string;
  /**
   * What upstreams are told in X-Forwarded-*, and the host that routes are judged by.
   *
   * @throws {GatewayError} bad-request where a trusted proxy tells a host that is none
   */
  forwarded(request: FastifyRequest): Origin;
}

/** @param publicUrl tells scheme and port where no trusted proxy does: TLS may end in front of the gateway */
export function originReader(publicUrl: string, isTrusted: IsTrusted): ReadOrigin {
  const publicProto = new URL(publicUrl).protocol.slice(0, -1);
  return {
    clientAddress: (request) => clientAddress(peerOf(request), text(request, 'x-forwarded-for'), isTrusted),
    forwarded(request) {
      const peer = peerOf(request);
      return isTrusted(peer) ? behindProxy(request, peer, publicProto) : direct(request, peer, publicProto);
    },
  };
}

function direct(request: FastifyRequest, peer: string, proto: string): Origin {
  const host = request.headers.host ?? '';
  return { forwardedFor: peer, proto, host, port: portOf(host, proto), trusted: false, forwarded: null };
}

function behindProxy(request: FastifyRequest, peer: string, publicProto: string): Origin {
  const before = text(request, 'x-forwarded-for');
  const toldProto = text(request, 'x-forwarded-proto');
  const proto = toldProto === 'http' || toldProto === 'https' ? toldProto : publicProto;
  const toldHost = text(request, 'x-forwarded-host');
  if (toldHost !== undefined && !isWellFormedHost(toldHost))
    throw new GatewayError('bad-request', { detail: 'X-Forwarded-Host must be one host.' });
  const host = toldHost ?? request.headers.host ?? '';
  const forwarded = text(request, 'forwarded');
  return {
    forwardedFor: before === undefined ? peer : `${before}, ${peer}`,
    ...{ proto, host, port: portOf(host, proto), trusted: true },
    // Not made up where none came: two headers would tell the same, and a proxy that knows only one tells less in ours.
    forwarded: forwarded === undefined ? null : `${forwarded}, for=${forwardedNode(peer)}`,
  };
}

function portOf(host: string, proto: string): string {
  return /:(\d+)$/.exec(host)?.[1] ?? (proto === 'https' ? '443' : '80');
}

/** IPv6 addresses stand in brackets and quotes (RFC 7239 section 6). */
function forwardedNode(address: string): string {
  return address.includes(':') ? `"[${address}]"` : address;
}

function peerOf(request: FastifyRequest): string {
  return plainAddress(request.raw.socket.remoteAddress ?? '');
}

function text(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}
