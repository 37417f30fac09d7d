import { expect, test } from 'vitest';
import { publicLocation } from '../../src/forwarding/location.ts';

const targets = [{ origin: 'http://10.0.0.1:3000' }, { origin: 'https://hub.internal' }];
const stripped = { outside: '/github', inside: '' };
const rewritten = { outside: '/v2/hub', inside: '/hub' };

test.each([
  ['http://10.0.0.1:3000/x?y=1#z', undefined, '/x?y=1#z'],
  ['HTTP://10.0.0.1:3000/x', undefined, '/x'],
  ['http://10.0.0.1:3000', undefined, '/'],
  ['http://10.0.0.1:3000?x', undefined, '/?x'],
  ['http://user:secret@10.0.0.1:3000/x', undefined, '/x'],
  ['https://hub.internal:443/x', undefined, '/x'],
  ['https://HUB.internal/%2e/a//b', undefined, '/%2e/a//b'],
  ['//10.0.0.1:3000/x', undefined, '/x'],
  ['http://10.0.0.1:3000/x', stripped, '/github/x'],
  ['http://10.0.0.1:3000', stripped, '/github/'],
  ['http://10.0.0.1:3000/hub/x', rewritten, '/v2/hub/x'],
  ['http://10.0.0.1:3000/hub', rewritten, '/v2/hub'],
  ['http://10.0.0.1:3000/hub?x', rewritten, '/v2/hub?x'],
  // Not below what the route maps: the service’s own path is the best there is.
  ['http://10.0.0.1:3000/hubs', rewritten, '/hubs'],
  ['http://10.0.0.1:3000/other', rewritten, '/other'],
])('%s under %j is %s to the client', (value, mount, expected) => {
  expect(publicLocation(value, targets, mount)).toBe(expected);
});

test.each([
  ...['/x', 'x', '?x', '#x', '', 'https://example.com/x', 'http://10.0.0.1/x', 'http://10.0.0.1:30000/x'],
  ...[
    'https://10.0.0.1:3000/x',
    'http://hub.internal/x',
    'http://10.0.0.1:3000.example.com/x',
    '///x',
    'http:/x',
  ],
  ...[
    'http://10.0.0.1:3000@example.com/x',
    'mailto:a@b',
    'http://[',
    'javascript:alert(1)',
    '//',
    '\\\\10.0.0.1:3000',
  ],
])('%s is left as it is', (value) => {
  expect(publicLocation(value, targets, stripped)).toBe(value);
});
