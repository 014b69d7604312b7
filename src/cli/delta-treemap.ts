import { shortId } from '../base/digest.ts';
import type { InspectedDelta } from '../spec/delta-inspect.ts';
import { bytesOf, filesOf, KIND_NAMES } from './delta-report.ts';

/**
 * Where the bytes of deltas go as one page that needs nothing else: a treemap in which each file
 * has an area as large as its share, directories can be entered, and colours say how a content is
 * coded. What is in it comes from images, so it goes in as data, never as markup.
 */

/** Files that have an area of their own; the rest of a delta is shown together. */
const FILES_MAX = 4000;

type Shown = {
  readonly title: string;
  readonly bytes: number;
  readonly unpacked: number;
  readonly layers: readonly (readonly [
    id: string,
    unpacked: number,
    heads: number,
    bytes: number,
  ])[];
  readonly files: readonly (readonly [path: string, kind: string, size: number, bytes: number])[];
};

function shown(delta: InspectedDelta): Shown {
  const files = filesOf(delta);
  const kept = files.slice(0, FILES_MAX);
  const bytes = bytesOf(delta);
  const rest = files.slice(FILES_MAX).reduce((sum, file) => sum + file.bytes, 0);
  const heads = delta.Report.layers.reduce((sum, layer) => sum + layer.headBytes, 0);
  const rows: Shown['files'][number][] = kept.map((file) => [
    file.path,
    file.kind,
    file.contentBytes,
    file.bytes,
  ]);
  if (rest > 0) rows.push(['(other files)', 'literal', 0, rest]);
  if (heads > 0) rows.push(['(headers: names, times, order)', 'none', 0, heads]);
  return {
    title: `${shortId(delta.Base)} → ${shortId(delta.Target)}`,
    bytes,
    unpacked: delta.Report.layers.reduce((sum, layer) => sum + layer.tarBytes, 0),
    layers: delta.Report.layers.map((layer) => [
      shortId(layer.diffId),
      layer.tarBytes,
      layer.headBytes,
      layer.bytes,
    ]),
    files: rows,
  };
}

/** The page. */
export function deltaPage(name: string, deltas: readonly InspectedDelta[]): string {
  const data = { name, kinds: KIND_NAMES, deltas: deltas.map(shown) };
  // In a script element only this character can end the data.
  const json = JSON.stringify(data).replaceAll('<', '\\u003c');
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>Where the bytes go</title>
<style>${STYLE}</style>
<header>
  <div><h1></h1><p id="sum"></p></div>
  <div id="tabs" role="group" aria-label="Deltas"></div>
</header>
<nav id="path" aria-label="Directory"></nav>
<main id="map" aria-label="Files by the bytes that they cost"></main>
<footer id="legend"></footer>
<section><h2>The most expensive files</h2><table id="worst"></table></section>
<section><h2>Layers</h2><table id="layers"></table></section>
<script type="application/json" id="data">${json}</script>
<script>${SCRIPT}</script>
</html>
`;
}

// White on any of the colours has a contrast of 4.5 at least.
const STYLE = `
:root { color-scheme: light dark; --ground: #f7f7f5; --ink: #1d2329; --soft: #67707a; --line: #d9dcdf;
  --none: #66727e; --same: #5f7489; --copy: #2f7f95; --addSame: #3a76b8; --addOther: #7a68c0; --literal: #b8591f; }
@media (prefers-color-scheme: dark) { :root { --ground: #14181c; --ink: #e6e9ec; --soft: #97a1ab; --line: #2c333a;
  --none: #59636e; --same: #566a80; --copy: #2f7f95; --addSame: #2f68a8; --addOther: #6453a8; --literal: #b05a25; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 28px 32px 48px; max-width: 1440px; margin-inline: auto; background: var(--ground);
  color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
header { display: flex; gap: 24px; justify-content: space-between; align-items: end; flex-wrap: wrap; }
h1 { margin: 0; font-size: 22px; font-weight: 650; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { margin: 36px 0 8px; font-size: 16px; font-weight: 650; }
p { margin: 4px 0 0; color: var(--soft); }
p b { color: var(--ink); }
button { font: inherit; color: inherit; background: none; border: 1px solid var(--line); border-radius: 7px;
  padding: 4px 11px; cursor: pointer; }
#tabs { display: flex; flex-wrap: wrap; gap: 6px; }
button[aria-pressed=true] { background: var(--ink); color: var(--ground); border-color: var(--ink); }
nav { margin: 18px 0 8px; min-height: 24px; color: var(--soft); overflow-wrap: anywhere; }
nav button { color: var(--ink); border: 0; padding: 0 2px; border-radius: 3px; text-decoration: underline;
  text-decoration-color: var(--line); text-underline-offset: 3px; }
:focus-visible { outline: 2px solid var(--ink); outline-offset: 1px; }
main { position: relative; height: min(64vh, 680px); min-height: 320px; border-radius: 10px; overflow: hidden;
  background: var(--line); }
.box { position: absolute; overflow: hidden; border-radius: 4px; }
.dir { background: color-mix(in srgb, var(--ink) 9%, var(--ground)); cursor: zoom-in; }
.dir > span { position: absolute; inset: 2px 6px auto; font-size: 12px; font-weight: 600; white-space: nowrap;
  overflow: hidden; text-overflow: ellipsis; }
.file { color: #fff; padding: 3px 6px; font-size: 12px; line-height: 1.25; }
.file span, .file i { display: block; font-style: normal; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.file:hover, .dir:hover, .dir:focus-visible { outline: 2px solid var(--ink); outline-offset: -2px; }
footer { display: flex; flex-wrap: wrap; gap: 6px 20px; margin-top: 12px; color: var(--soft); font-size: 13px; }
footer s { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 7px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
td { padding: 5px 18px 5px 0; border-top: 1px solid var(--line); white-space: nowrap; }
td:first-child { white-space: normal; overflow-wrap: anywhere; width: 100%; }
td.n, th.n { text-align: right; }
th { padding: 5px 18px 5px 0; text-align: left; font-weight: 500; color: var(--soft); white-space: nowrap; }
td:last-child, th:last-child { padding-right: 0; }
@media (max-width: 600px) { body { padding: 20px 16px 32px; } td, th { padding-right: 10px; } }
`;

const SCRIPT = `
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const at = (id) => document.getElementById(id);
const make = (tag, text, parent, name) => {
  const made = document.createElement(tag);
  if (text !== '') made.textContent = text;
  if (name) made.className = name;
  parent.append(made);
  return made;
};
const size = (n) => {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let i = 0;
  while (n >= 1000 && i < units.length - 1) { n /= 1000; i++; }
  return (i === 0 ? String(Math.round(n)) : n.toPrecision(3)) + ' ' + units[i];
};
function treeOf(delta) {
  const root = { name: '', bytes: 0, inside: new Map() };
  for (const [path, kind, content, bytes] of delta.files) {
    let node = root;
    root.bytes += bytes;
    const parts = path.split('/');
    parts.forEach((part, i) => {
      const isFile = i === parts.length - 1;
      const key = (isFile ? 'f' : 'd') + part;
      let next = node.inside.get(key);
      if (!next) {
        next = isFile ? { name: part, path, kind, content, bytes: 0 } : { name: part, bytes: 0, inside: new Map() };
        node.inside.set(key, next);
      }
      next.bytes += bytes;
      node = next;
    });
  }
  for (const node of root.inside.values()) fold(node);
  return root;
}
// A directory with nothing but a directory in it is shown as one with it.
function fold(node) {
  if (!node.inside) return;
  for (let [only] = node.inside.values(); node.inside.size === 1 && only.inside; [only] = node.inside.values()) {
    node.name += '/' + only.name;
    node.inside = only.inside;
  }
  for (const each of node.inside.values()) fold(each);
}
// Squarified treemap (Bruls, Huizing, van Wijk 2000).
function place(nodes, box, put) {
  const items = nodes.filter((n) => n.bytes > 0).sort((a, b) => b.bytes - a.bytes);
  let left = items.reduce((sum, n) => sum + n.bytes, 0);
  let { x, y, w, h } = box;
  for (let i = 0; i < items.length && w > 0.5 && h > 0.5; ) {
    const side = Math.min(w, h), scale = (w * h) / left;
    let row = [], sum = 0, worst = Infinity;
    for (; i < items.length; i++) {
      const area = items[i].bytes * scale, all = sum + area;
      const next = Math.max(...[row[0] ?? items[i], items[i]].map((n) => {
        const a = n.bytes * scale;
        return Math.max((side * side * a) / (all * all), (all * all) / (side * side * a));
      }));
      if (row.length > 0 && next > worst) break;
      row.push(items[i]); sum = all; worst = next;
    }
    const thick = sum / side;
    let along = 0;
    for (const node of row) {
      const length = (node.bytes * scale) / thick;
      put(node, w >= h ? { x, y: y + along, w: thick, h: length } : { x: x + along, y, w: length, h: thick });
      along += length;
      left -= node.bytes;
    }
    if (w >= h) { x += thick; w -= thick; } else { y += thick; h -= thick; }
  }
}
const map = at('map');
let delta, trail;
function draw() {
  map.replaceChildren();
  const here = trail.at(-1);
  const fill = (node, parent, box, depth) => place([...node.inside.values()], box, (each, b) => {
    const gap = 1;
    const made = make('div', '', parent, 'box ' + (each.inside ? 'dir' : 'file'));
    made.style.cssText = 'left:' + (b.x + gap) + 'px;top:' + (b.y + gap) + 'px;width:' +
      Math.max(0, b.w - 2 * gap) + 'px;height:' + Math.max(0, b.h - 2 * gap) + 'px';
    if (!each.inside) {
      made.style.background = 'var(--' + (each.kind in data.kinds ? each.kind : 'literal') + ')';
      made.title = '/' + each.path + '\\n' + size(each.bytes) + (each.content ? ' for ' + size(each.content) : '') +
        '\\n' + (data.kinds[each.kind] ?? each.kind);
      made.setAttribute('role', 'img');
      made.setAttribute('aria-label', made.title);
      if (b.w > 54 && b.h > 20) {
        make('span', each.name, made);
        if (b.h > 38) make('i', size(each.bytes), made);
      } else made.style.padding = '0';
      return;
    }
    made.title = each.name + '/\\n' + size(each.bytes);
    made.onclick = (event) => { event.stopPropagation(); enter(trailTo(here, each)); };
    if (depth === 0) {
      made.tabIndex = 0;
      made.setAttribute('role', 'button');
      made.setAttribute('aria-label', made.title);
      made.onkeydown = (event) => {
        if (event.key !== 'Enter' && event.key !== ' ') return;
        event.preventDefault();
        enter(trailTo(here, each), true);
      };
    }
    const top = b.w > 50 && b.h > 34 ? 19 : 2;
    if (top > 2) make('span', each.name + '/  ' + size(each.bytes), made);
    if (depth < 7 && b.w > 12 && b.h > 12) fill(each, made, { x: 1, y: top, w: b.w - 5, h: b.h - top - 4 }, depth + 1);
  });
  fill(here, map, { x: 0, y: 0, w: map.clientWidth, h: map.clientHeight }, 0);
  const nav = at('path');
  nav.replaceChildren();
  trail.forEach((node, i) => {
    const link = make('button', i === 0 ? '/' : node.name, nav);
    if (node === here) link.setAttribute('aria-current', 'true');
    link.onclick = () => enter(trail.slice(0, i + 1));
    nav.append(i === 0 ? ' ' : ' / ');
  });
  nav.append(size(here.bytes));
}
// By a key, the focus goes to the first directory inside, or stays with where we are.
function enter(to, byKey) {
  trail = to;
  draw();
  if (byKey) (map.querySelector('[tabindex]') ?? at('path').querySelector('[aria-current]')).focus();
}
addEventListener('keydown', ({ key }) => {
  if (key === 'Escape' && trail.length > 1) enter(trail.slice(0, -1), true);
});
function trailTo(from, to) {
  const find = (node) => node === to ? [node]
    : node.inside ? [...node.inside.values()].map(find).filter(Boolean).map((rest) => [node, ...rest])[0] : undefined;
  return [...trail.slice(0, -1), ...(find(from) ?? [from])];
}
// Numbers are sizes.
function table(id, heads, rows) {
  const made = at(id);
  made.replaceChildren();
  const head = make('tr', '', made);
  heads.forEach((each, i) => make('th', each, head, typeof rows[0]?.[i] === 'number' ? 'n' : ''));
  for (const cells of rows) {
    const row = make('tr', '', made);
    for (const cell of cells) {
      if (typeof cell === 'number') make('td', size(cell), row, 'n');
      else make('td', cell, row);
    }
  }
}
function choose(i) {
  delta = data.deltas[i];
  [...at('tabs').children].forEach((tab, n) => tab.setAttribute('aria-pressed', n === i));
  const sum = at('sum');
  sum.replaceChildren();
  make('b', size(delta.bytes), sum);
  sum.append(' make ' + size(delta.unpacked) + ' of layers, ' + delta.title);
  table('worst', ['File', 'Content', 'Unpacked', 'Bytes'], delta.files.slice(0, 25).map(
    ([path, kind, content, bytes]) =>
      [content ? '/' + path : path, data.kinds[kind] ?? kind, content || '', bytes]));
  table('layers', ['Layer', 'Unpacked', 'Headers', 'Bytes'], delta.layers);
  const legend = at('legend');
  legend.replaceChildren();
  for (const [kind, name] of Object.entries(data.kinds)) {
    const bytes = delta.files.reduce((sum, file) => sum + (file[1] === kind ? file[3] : 0), 0);
    if (bytes === 0) continue;
    const item = make('div', '', legend);
    make('s', '', item).style.background = 'var(--' + kind + ')';
    item.append((kind === 'none' ? 'headers' : name) + ' ' + size(bytes));
  }
  trail = [treeOf(delta)];
  draw();
}
document.querySelector('h1').textContent = data.name;
if (data.deltas.length > 1) {
  data.deltas.forEach(({ title }, i) => { make('button', title, at('tabs')).onclick = () => choose(i); });
}
addEventListener('resize', draw);
choose(0);
`;
