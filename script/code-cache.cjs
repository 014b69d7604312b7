/**
 * Writes V8's code for a bundle: `code-cache.cjs BUNDLE NAME OUTPUT`. Compiled as `bin/parts.ts`
 * does, or V8 does not accept it.
 */
const { readFileSync, writeFileSync } = require('node:fs');
const { compileFunction } = require('node:vm');

const [bundle, filename, output] = process.argv.slice(2);
const source = readFileSync(bundle).toString('latin1');
const parameters = ['exports', 'require', 'module', '__filename', '__dirname'];
const { cachedData } = compileFunction(source, parameters, { filename, produceCachedData: true });
writeFileSync(output, cachedData);
