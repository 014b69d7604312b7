import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nextPageOf } from './tags.ts';

const after = (link: string | undefined): string | undefined =>
  nextPageOf({
    url: new URL('http://registry.example:5000/v2/app/tags/list?n=2'),
    headers: { get: () => link },
  })?.href;

test('the next page is where the registry says, when that is an address of its own', () => {
  const next = 'http://registry.example:5000/v2/app/tags/list?last=b&n=2';
  assert.equal(after('</v2/app/tags/list?last=b&n=2>; rel="next"'), next);
  assert.equal(after(`<${next}>; rel=next`), next);
  assert.equal(after(undefined), undefined);
  assert.equal(after('</v2/app/tags/list>; rel="prev"'), undefined);
  assert.equal(after('<http://elsewhere.example/v2/app/tags/list>; rel="next"'), undefined);
  for (const broken of ['<http://>; rel="next"', '<//>; rel="next"', '<http://[>; rel="next"']) {
    assert.equal(after(broken), undefined, broken);
  }
});
