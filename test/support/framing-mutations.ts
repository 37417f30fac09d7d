// Requests whose end two servers might see in two places. Every one carries a body in which another request stands: a
// server that loses count answers that one.

export interface Mutation {
  readonly text: string;
  /** False: it may pass, if it passes as one request. */
  readonly mustBeRefused: boolean;
}

export const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n';
const CHUNKS = '5\r\nhello\r\n0\r\n\r\n';

function post(fields: readonly string[], body: string, mustBeRefused = true, version = '1.1'): Mutation {
  const head = [`POST /mutation HTTP/${version}`, 'Host: a', 'X-Run: @RUN@', ...fields].join('\r\n');
  return { text: `${head}\r\n\r\n${body}`, mustBeRefused };
}

const SPACINGS = ['', ' ', '\t', '  \t '];
const ENCODING_NAMES = ['Transfer-Encoding', 'transfer-encoding', 'TRANSFER-ENCODING', 'tRANSFER-eNCODING'];
const BAD_ENCODINGS = [
  ...['gzip, chunked', 'chunked, gzip', 'gzip', 'deflate', 'br, chunked', 'compress', 'identity', 'cow'],
  ...['chunked, identity', 'identity, chunked', 'chunked, chunked', 'chunked,chunked', 'chunked chunked'],
  ...['xchunked', 'chunkedx', 'x-chunked', 'chunke', 'hunked', 'chunked;q=1', 'chunked; a=b', 'chunked/1'],
  ...['"chunked"', "'chunked'", '[chunked]', '(chunked)', '<chunked>', 'chunked=', '=chunked', '%63hunked'],
  ...['chunked,', ',chunked', ', chunked', 'chunked ,', ',', '', 'chun ked', 'chun\tked', 'chun-ked'],
  ...['\x0bchunked', 'chunked\x0b', '\x0cchunked', 'chunked\0', '\0chunked', 'chunked\x7f', 'chunked\x1b'],
  ...['chunked\xa0', '\xa0chunked', '\xffchunked', 'chunk\xe9d', 'c\u0127unked', 'true', '1', 'none', 'off'],
  ...['chunked\r', 'chunked\r ', '\rchunked', 'chunked\n x', '\n chunked', '\r\n chunked', 'chunked\r\n\t,x'],
];
const LENGTHS_BESIDE = ['', 'Content-Length: 5', `Content-Length: ${CHUNKS.length}`];

function badEncodings(): Mutation[] {
  return BAD_ENCODINGS.flatMap((value) =>
    ENCODING_NAMES.flatMap((name, at) =>
      LENGTHS_BESIDE.flatMap((length) => {
        const field = `${name}:${SPACINGS[at]}${value}`;
        const fields =
          length === ''
            ? [[field]]
            : [
                [field, length],
                [length, field],
              ];
        return fields.map((each) => post(each, CHUNKS + SMUGGLED));
      }),
    ),
  );
}

/** With two lines each of which is good: which one counts, nobody can know. */
function doubledFields(): Mutation[] {
  const chunked = ENCODING_NAMES.map((name) => `${name}: chunked`);
  const lengths = ['0', '5', '15', '05', '999', String(CHUNKS.length)].map((n) => `Content-Length: ${n}`);
  const mixed = chunked.flatMap((encoding) =>
    lengths.flatMap((length) => [
      [encoding, length],
      [length, encoding],
      [encoding, 'X-Between: 1', length],
      [length, 'X-Between: 1', encoding],
    ]),
  );
  const twoEncodings = BAD_ENCODINGS.slice(0, 20).flatMap((value) => [
    ['Transfer-Encoding: chunked', `Transfer-Encoding: ${value}`],
    [`Transfer-Encoding: ${value}`, 'transfer-encoding: chunked'],
  ]);
  const twoLengths = lengths.flatMap((one) =>
    lengths.flatMap((other) => [
      [one, other],
      [one.toLowerCase(), 'X-Between: 1', other.toUpperCase()],
    ]),
  );
  return [...mixed, ...twoEncodings, ...twoLengths].map((fields) => post(fields, CHUNKS + SMUGGLED));
}

const BAD_LENGTHS = [
  ...['+5', '-5', '0x5', '5,5', '5, 5', '5 5', '5;5', '5.0', '5e0', '5e1', '', 'five', '5a', 'a5', '0b101'],
  ...[
    '99999999999999999999',
    '18446744073709551616',
    '18446744073709551621',
    '4294967296x',
    '"5"',
    "'5'",
    '%35',
  ],
  ...['\x0b5', '5\x0b', '\x0c5', '5\0', '\x005', '5\x7f', '5\xa0', '\xa05', '5\r', '\r5', '5\n ', '\n 5'],
  ...['\u0665', '5\r\n 0', '5_0', '05.', '5-', '- 5', '+ 5', '٥', '5,', ',5', '5, 6', '5,\t5'],
];

function badLengths(): Mutation[] {
  return BAD_LENGTHS.flatMap((value) =>
    ['Content-Length', 'content-length', 'CONTENT-LENGTH'].flatMap((name, at) => [
      post([`${name}:${SPACINGS[at]}${value}`], `hello${SMUGGLED}`),
      post(['X-Before: 1', `${name}:${SPACINGS[at + 1]}${value}`, 'X-Behind: 1'], `hello${SMUGGLED}`),
    ]),
  );
}

/** Names that some server takes for the ones that count. */
function disguisedNames(): Mutation[] {
  const encoding = 'Transfer-Encoding: chunked';
  const broken = [
    ...[`${encoding.replace(':', ' :')}`, encoding.replace(':', '\t:'), ` ${encoding}`, `\t${encoding}`],
    ...[encoding.replace(':', '\0:'), encoding.replace(':', '\x0b:'), `\0${encoding}`, `\x0b${encoding}`],
    ...[encoding.replace('-', '\r-'), encoding.replace('-', '\n-'), `X: y\r${encoding}`, `X: y\n${encoding}`],
    ...[
      `X: y\n\n${encoding}`,
      `X: y\r\r${encoding}`,
      encoding.replace('-', '\xad'),
      encoding.replace('-', ' '),
    ],
    ...[
      encoding.replace('-', '\u2010'),
      encoding.replace('T', '\xfet'),
      ':chunked',
      'Transfer-Encoding',
      ':',
    ],
    ...[encoding.replace(':', ''), encoding.replace(':', '='), encoding.replace('-', '"'), `"${encoding}"`],
  ];
  // Names of their own by the letter: they must count for nothing, here and behind us.
  const others = [
    'Transfer_Encoding',
    'Transfer.Encoding',
    'Transfer--Encoding',
    'X-Transfer-Encoding',
    'TE',
  ].map((name) => `${name}: chunked`);
  const lengths = [
    'Content_Length',
    'Content.Length',
    'X-Content-Length',
    'Content-Lengths',
    'Content~Length',
  ].map((name) => `${name}: 0`);
  const body = `hello`;
  return ['Content-Length: 5', 'content-length:5'].flatMap((length) => [
    ...broken.flatMap((field) => [
      post([field, length], body + SMUGGLED),
      post([length, field], body + SMUGGLED),
      post(['X-Before: 1', field, 'X-Behind: 1', length], body + SMUGGLED),
    ]),
    ...[...others, ...lengths].flatMap((field) => [
      post([field, length], body, false),
      post([length, field], body, false),
    ]),
  ]);
}

const BAD_CHUNKS = [
  ...[
    'zz',
    '-5',
    '+5',
    '0x5',
    '5 ',
    ' 5',
    '5\t',
    '',
    'g',
    '5h',
    '５',
    '5,',
    '5.',
    '"5"',
    '5\0',
    '\x005',
    '5\x0b',
  ],
  ...[
    'fffffffffffffffff',
    '10000000000000005',
    '100000000000000005',
    `${'0'.repeat(8)}g`,
    '5\xa0',
    '5 5',
    '5\r',
  ],
];

function badChunks(): Mutation[] {
  const field = ['Transfer-Encoding: chunked'];
  const sizes = BAD_CHUNKS.flatMap((size) => [
    post(field, `${size}\r\nhello\r\n0\r\n\r\n${SMUGGLED}`),
    post(field, `5\r\nhello\r\n${size}\r\nhello\r\n0\r\n\r\n${SMUGGLED}`),
    // With its own CR in front that would be the end of a line as it should be.
    ...(size.endsWith('\r') ? [] : [post(field, `${size}\nhello\r\n0\r\n\r\n${SMUGGLED}`)]),
  ]);
  const lines = [
    ...['5\nhello\n0\n\n', '5\nhello\r\n0\r\n\r\n', '5\r\nhello\n0\r\n\r\n', '5\r\nhello\r\n0\n\r\n'],
    ...['5\r\nhello!\r\n0\r\n\r\n', '5\r\nhell\r\n0\r\n\r\n', '5\r\nhello0\r\n\r\n', '5\r\nhello\r0\r\n\r\n'],
    ...['5;a=b\nc\r\nhello\r\n0\r\n\r\n', '5;\0\r\nhello\r\n0\r\n\r\n', '5;a=\x0b\n\r\nhello\r\n0\r\n\r\n'],
    ...[
      '5\rhello\r\n0\r\n\r\n',
      '\r\n5\r\nhello\r\n0\r\n\r\n',
      '5\r\n\r\nhello\r\n0\r\n\r\n',
      '5\r\nhello\r\n\r\n0\r\n\r\n',
    ],
    ...[
      '5\r\nhello\r\n0\r\nX-T\r\n\r\n',
      '5\r\nhello\r\n0\r\nX T: 1\r\n\r\n',
      '5\r\nhello\r\n0\r\n: 1\r\n\r\n',
    ],
    ...[
      '5\r\nhello\r\n0\r\nX: \0\r\n\r\n',
      '5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n',
      '5\r\nhello\r\n-0\r\n\r\n',
    ],
  ].map((body) => post(field, body + SMUGGLED));
  // By the letter: an extension is skipped, zeros in front change nothing, a trailer is dropped.
  const good = [
    ...['5;a=b\r\nhello\r\n0\r\n\r\n', '5;a="b;c"\r\nhello\r\n0\r\n\r\n', '005\r\nhello\r\n000\r\n\r\n'],
    ...['5\r\nhello\r\n0;x\r\n\r\n', '1\r\nh\r\n4\r\nello\r\n0\r\nX-T: 1\r\nContent-Length: 3\r\n\r\n'],
    ...['5\r\nhello\r\n0\r\nTransfer-Encoding: x\r\n\r\n', `5;${'e'.repeat(1000)}\r\nhello\r\n0\r\n\r\n`],
    `${SMUGGLED.length.toString(16)}\r\n${SMUGGLED}\r\n0\r\n\r\n`,
  ].map((body) => post(field, body, false));
  // More than anyone sends: refused or passed, but counted right.
  const long = [16, 64, 256].map((kb) =>
    post(field, `5;${'e'.repeat(kb * 1024)}\r\nhello\r\n0\r\n\r\n`, false),
  );
  return [...sizes, ...lines, ...good, ...long];
}

function badLines(): Mutation[] {
  const broken = [
    ...[
      'X-A: 1\r\n folded',
      'X-A: 1\r\n\tfolded',
      'X-A: 1\nX-B: 2',
      'X-A: 1\rX-B: 2',
      'X-A: 1\0',
      'X-A: \x0b\n',
    ],
    ...[
      'X-A\r\n: 1',
      'X A: 1',
      'X-A : 1',
      '\x00: 1',
      'X-\xe9: 1',
      'X(A): 1',
      'X-A',
      ': 1',
      ' X-A: 1',
      '\tX-A: 1',
    ],
    ...['X-A: 1\x01', 'X-A: \x7f', 'X-A: 1\r\n\x0b', 'X-A: 1\n', 'X-A: 1\r', 'Host: b', 'host: a', 'Host:'],
  ];
  const fields = broken.flatMap((field) => [
    post([field, 'Content-Length: 5'], `hello${SMUGGLED}`),
    post(['Content-Length: 5', field], `hello${SMUGGLED}`),
    post([field, 'Transfer-Encoding: chunked'], CHUNKS + SMUGGLED),
    post(['Transfer-Encoding: chunked', field], CHUNKS + SMUGGLED),
  ]);
  const lines = [
    ...['GET /x', 'GET /x HTTP/0.9', 'GET /x HTTP/1.2', 'GET /x HTTP/2.0', 'GET /x HTTP/1.1x'],
    ...[' GET /x HTTP/1.1', 'GET\t/x HTTP/1.1', 'GET /x\tHTTP/1.1', 'GET /x http/1.1', 'GET'],
    ...[
      'GET /x HTTP/1.1 ',
      'GET /x HTTP/1.1\t',
      'GET /x HTTP/11',
      'GET /x HTTP/1,1',
      'G\0T /x HTTP/1.1',
      '/x',
    ],
    ...[
      'GET /x HTTP/1.1\r',
      'GET /x HTTP/1.1\n',
      'GET /x HTTP/1.01',
      'GET /x HTTP/01.1',
      'GE\xe9 /x HTTP/1.1',
    ],
  ].map((line) => ({ text: `${line}\r\nHost: a\r\nX-Run: @RUN@\r\n\r\n${SMUGGLED}`, mustBeRefused: true }));
  // Read as one request with one target by the letter, too (RFC 9112 section 3), and sent on with single spaces.
  const spaced = ['GET /x  HTTP/1.1', 'GET  /x HTTP/1.1'].map((line) => ({
    text: `${line}\r\nHost: a\r\nX-Run: @RUN@\r\n\r\n`,
    mustBeRefused: false,
  }));
  const old = ['chunked', 'gzip, chunked', 'identity'].map((value) =>
    post([`Transfer-Encoding: ${value}`, 'Connection: keep-alive'], CHUNKS + SMUGGLED, true, '1.0'),
  );
  return [...fields, ...lines, ...spaced, ...old];
}

/** All of them, in no special order. */
export function framingMutations(): Mutation[] {
  return [
    ...[badEncodings(), doubledFields(), badLengths(), disguisedNames(), badChunks(), badLines()].flat(),
  ];
}
