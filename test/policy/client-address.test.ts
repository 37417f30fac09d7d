import { describe, expect, test } from 'vitest';
import {
  addressGroup,
  clientAddress,
  plainAddress,
  trustAddresses,
} from '../../src/policy/client-address.ts';

const proxies = trustAddresses(['10.0.0.0/8', '192.0.2.7', '2001:db8:f::/48', '::1']);

describe('trusted are', () => {
  test.each([
    '10.0.0.1',
    '10.255.255.255',
    '192.0.2.7',
    '2001:db8:f::1',
    '2001:db8:f:ffff::',
    '::1',
    '::ffff:10.0.0.1',
  ])('the configured addresses: %s', (address) => {
    expect(proxies(address)).toBe(true);
  });

  test.each([
    '11.0.0.1',
    '9.255.255.255',
    '192.0.2.8',
    '2001:db8:e::1',
    '::2',
    '127.0.0.1',
    '::ffff:11.0.0.1',
  ])('and no others: %s', (address) => {
    expect(proxies(address)).toBe(false);
  });

  test.each(['', 'unknown', '10.0.0', 'x', '010.0.0.1', '10.0.0.1:80', '[::1]'])(
    'and never what is no address: %j',
    (text) => {
      expect(proxies(text)).toBe(false);
    },
  );

  test('nobody by default', () => {
    const nobody = trustAddresses([]);
    for (const address of ['127.0.0.1', '::1', '10.0.0.1']) expect(nobody(address)).toBe(false);
  });

  test.each([
    ['0.0.0.0/0', '203.0.113.9', true],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['::/0', '2001:db8::1', true],
    ['192.0.2.7/32', '192.0.2.7', true],
    ['192.0.2.7/32', '192.0.2.6', false],
  ])('%s: %s is trusted: %s', (entry, address, trusted) => {
    expect(trustAddresses([entry])(address)).toBe(trusted);
  });
});

describe('the client behind a proxy', () => {
  test.each([
    ['one proxy', '10.0.0.1', '203.0.113.9', '203.0.113.9'],
    ['two proxies', '10.0.0.1', '203.0.113.9, 10.0.0.2', '203.0.113.9'],
    ['its own words further left', '10.0.0.1', '127.0.0.1, 203.0.113.9', '203.0.113.9'],
    ['a trusted address as its own words', '10.0.0.1', '10.9.9.9, 203.0.113.9, 10.0.0.2', '203.0.113.9'],
    ['an IPv6 client', '::1', '2001:db8::5', '2001:db8::5'],
    ['an IPv6 spelling of IPv4', '10.0.0.1', '::ffff:203.0.113.9', '203.0.113.9'],
    ['an IPv6 spelling of a proxy', '10.0.0.1', '203.0.113.9, ::ffff:10.0.0.2', '203.0.113.9'],
    ['no blanks', '10.0.0.1', '127.0.0.1,203.0.113.9', '203.0.113.9'],
    ['proxies alone', '10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
  ])('%s', (_what, peer, forwardedFor, client) => {
    expect(clientAddress(peer, forwardedFor, proxies)).toBe(client);
  });

  test.each([
    '',
    ',',
    'unknown',
    'x',
    '203.0.113.9:8080',
    '[2001:db8::1]',
    '_hidden',
    '203.0.113.9 evil',
    '1.2.3.4\u0000',
  ])('is the last trusted address when the entry is none: %j', (entry) => {
    expect(clientAddress('10.0.0.1', entry, proxies)).toBe('10.0.0.1');
    expect(clientAddress('10.0.0.1', `203.0.113.9, ${entry}, 10.0.0.2`, proxies)).toBe('10.0.0.2');
  });

  test('is the peer when the proxy says nothing', () => {
    expect(clientAddress('10.0.0.1', undefined, proxies)).toBe('10.0.0.1');
  });
});

test.each(['127.0.0.1', '10.0.0.1', '1.1.1.1, 2.2.2.2', '::1', 'x', ''])(
  'a client that is no trusted proxy cannot choose its address: %j',
  (forwardedFor) => {
    expect(clientAddress('203.0.113.9', forwardedFor, proxies)).toBe('203.0.113.9');
    expect(clientAddress('2001:db8::9', forwardedFor, trustAddresses([]))).toBe('2001:db8::9');
  },
);

describe('the IPv6 spelling of an IPv4 address', () => {
  test.each(['::ffff:192.0.2.1', '::FFFF:192.0.2.1', '::ffff:c000:201', '0:0:0:0:0:ffff:192.0.2.1'])(
    'is undone: %s',
    (address) => {
      expect(plainAddress(address)).toBe('192.0.2.1');
    },
  );

  test.each(['192.0.2.1', '::1', '2001:db8::ffff:192.0.2.1', '::ffff:x', '::ffff:1.2.3', '', 'x'])(
    'is not seen in %j',
    (address) => {
      expect(plainAddress(address)).toBe(address);
    },
  );
});

describe('a rate limit counts', () => {
  test.each(['192.0.2.1', '203.0.113.255'])('each IPv4 address by itself: %s', (address) => {
    expect(addressGroup(address)).toBe(address);
  });

  test.each([
    ['2001:db8:1:2::', '2001:db8:1:2:ffff:ffff:ffff:ffff'],
    ['2001:db8:1:2::1', '2001:db8:1:2:0:0:0:1'],
    ['2001:db8::1', '2001:db8:0:0:8::'],
    ['2001:DB8::1', '2001:0db8:0000::abcd'],
    ['::1', '::2'],
    ['fe80::1%eth0', 'fe80::2'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::192.0.2.1'],
    ['64:ff9b::192.0.2.1', '64:ff9b::c000:202'],
    ['0:1:2:3::', '::1:2:3:4:5:192.0.2.1'],
  ])('%s and %s as one', (one, other) => {
    expect(addressGroup(one)).toBe(addressGroup(other));
  });

  test.each([
    ['2001:db8:1:2::1', '2001:db8:1:3::1'],
    ['2001:db8::1', '2001:db8:0:1::1'],
    ['2001:db8:1::', '2001:db8:1:1::'],
    ['::1', '1::'],
    ['192.0.2.1', '192.0.2.2'],
  ])('%s and %s apart', (one, other) => {
    expect(addressGroup(one)).not.toBe(addressGroup(other));
  });

  test('what is no address as it stands', () => {
    for (const text of ['', 'x', 'unknown']) expect(addressGroup(text)).toBe(text);
  });
});
