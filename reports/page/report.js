'use strict';
(() => {
const $ = (q, root = document) => root.querySelector(q);
const $$ = (q, root = document) => [...root.querySelectorAll(q)];
const SVG = 'http://www.w3.org/2000/svg';
const index = $('#index'), view = $('#case');
const title = document.title;

// Elements are made from text nodes and attributes only: what a farm sent is
// shown and never parsed.
function fill(e, attrs, kids) {
  for (const [k, v] of Object.entries(attrs || {})) {
    if (v === undefined || v === null || v === false) continue;
    if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
    else e.setAttribute(k, v === true ? '' : v);
  }
  for (const kid of kids.flat(3)) if (kid || kid === 0) e.append(kid);
  return e;
}
const h = (tag, attrs, ...kids) => fill(document.createElement(tag), attrs, kids);
const s = (tag, attrs, ...kids) => fill(document.createElementNS(SVG, tag), attrs, kids);
const icon = (name) => s('svg', {class: 'i', 'aria-hidden': 'true'}, s('use', {href: '#i-' + name}));
const words = {'not-offered': 'not offered', 'not-run': 'not run'};
const word = (v) => words[v] || v;
const badge = (v) => h('span', {class: 'badge v-' + v}, icon(v), word(v));

// show makes visible what would otherwise act on the text around it.
const hidden = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
const show = (text) => String(text ?? '').replace(/\r\n?/g, '\n').replace(hidden, (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
const line = (text) => show(text).replace(/\s+/g, ' ').trim();
function took(ns) {
  const ms = ns / 1e6;
  if (ms < 1) return Math.round(ns / 1e3) + ' µs';
  if (ms < 1000) return Math.round(ms) + ' ms';
  return (ms / 1000).toFixed(2) + ' s';
}
function path(url) {
  const m = /^[a-z]+:\/\/[^/?#;]*(.*)$/i.exec(url || '');
  return line(m ? m[1] || '/' : url);
}

// Evidence of a case: base64, gzip, JSON.
async function evidence(n) {
  const packed = atob($('#e' + n).textContent.trim());
  const bytes = Uint8Array.from(packed, (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Response(stream).json();
}

// Addresses: #case=ID&target=NAME opens a case, any other fragment is a place in the index.
const chips = $$('#scenarios a.chip');
const caseOf = new Map();
function decode(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}
function parse(hash) {
  const out = {};
  for (const part of hash.replace(/^#/, '').split('&')) {
    const at = part.indexOf('=');
    if (at > 0) out[part.slice(0, at)] = decode(part.slice(at + 1));
  }
  return out;
}
for (const c of chips) {
  const a = parse(c.getAttribute('href'));
  caseOf.set(a.case + '\n' + a.target, c);
  if (!caseOf.has(a.case)) caseOf.set(a.case, c);
}
let scrolled = 0, opened = 0;
async function route(event) {
  const hash = location.hash;
  const turn = ++opened;
  const want = parse(hash);
  if (!want.case) {
    const was = !view.hidden;
    view.hidden = true;
    index.hidden = false;
    document.title = title;
    const place = hash.length > 1 ? document.getElementById(decode(hash.slice(1))) : null;
    if (place) {
      if (place.tagName === 'DETAILS') { place.open = true; reveal(place); }
      place.scrollIntoView();
      if (place.tagName === 'DETAILS') $('summary', place).focus({preventScroll: true});
    } else if (was && event) scrollTo({top: scrolled, behavior: 'instant'});
    return;
  }
  if (!index.hidden) scrolled = scrollY;
  const chip = caseOf.get(want.case + '\n' + (want.target ?? '')) || (want.target === undefined ? caseOf.get(want.case) : null);
  let content;
  if (!chip) content = missing(want);
  else {
    try { content = draw(await evidence(chip.dataset.n), chip); } catch (e) { content = broken(e); }
  }
  if (turn !== opened) return;
  index.hidden = true;
  view.hidden = false;
  view.replaceChildren(...content.flat(2).filter(Boolean));
  const head = $('h1', view);
  document.title = head.textContent + ' · ' + title;
  scrollTo({top: 0, behavior: 'instant'});
  head.focus({preventScroll: true});
}
const missing = (want) => [crumbs(null), h('h1', {tabindex: -1}, 'No such case'), h('p', {class: 'lede'}, 'This report has no case ' + line(want.case) + (want.target ? ' on ' + line(want.target) : '') + '.')];
const broken = (e) => [crumbs(null), h('h1', {tabindex: -1}, 'The evidence does not open'), h('p', {class: 'lede'}, 'This browser cannot unpack it (' + line(e.message || e) + '). A current one can; results.json beside this file holds the same.')];

function crumbs(chip) {
  const seen = chips.filter((c) => !c.hidden && !c.closest('.item').hidden);
  const at = seen.indexOf(chip);
  const link = (c, text) => c && h('a', {href: c.getAttribute('href')}, text);
  return h('div', {class: 'crumbs'},
    h('a', {href: '#cases', onclick: (e) => { if (scrolled) { e.preventDefault(); location.hash = ''; } }}, '← All results'),
    chip && at >= 0 && h('span', {}, link(seen[at - 1], '‹ Previous case'), link(seen[at + 1], 'Next case ›')));
}

function draw(r, chip) {
  r.steps ||= []; r.checks ||= []; r.exchanges ||= []; r.messages ||= []; r.requirements ||= [];
  const sections = [
    crumbs(chip),
    h('p', {class: 'case-head'}, badge(r.verdict), h('span', {class: 'mono muted'}, line(r.scenario)), h('span', {class: 'muted'}, 'on ', h('span', {class: 'mono'}, line(r.target))), h('span', {class: 'muted'}, took(r.took_ns))),
    h('h1', {tabindex: -1}, line(r.name || r.scenario)),
    r.reason && h('p', {class: 'reason v-' + r.verdict}, line(r.reason)),
    meta(r),
    h('h2', {id: 'steps'}, 'Step by step'),
    story(r),
  ];
  const picture = diagram(r);
  if (picture) sections.push(h('h2', {id: 'sequence'}, 'What happened, in order'), picture);
  return sections;
}

function meta(r) {
  const row = (name, value, wide) => value && h('div', {class: wide ? 'wide' : null}, h('dt', {}, name), h('dd', {}, value));
  const level = {B: 'black box: HTTP alone', G: 'grey box: also service, administrator, processes', W: 'white box: also database, keys, clocks'};
  return h('dl', {class: 'meta'},
    row('Requirements', r.requirements.length > 0 && h('ul', {}, r.requirements.map((id) => {
      const entry = document.getElementById('r-' + id);
      return h('li', {}, h('a', {class: 'mono', href: '#r-' + id}, line(id)), entry && h('span', {}, $('.title', entry).textContent));
    })), true),
    row('Observed as', level[r.level] || line(r.level)),
    row('Convicts', r.faults && r.faults.length && line(r.faults.join(', '))),
    row('Written in', h('span', {class: 'mono'}, line(r.file) + ':' + r.line)),
    row('Repeat this case', h('div', {class: 'cmdline'}, command(r.repeat)), true));
}

function command(text) {
  const code = h('code', {}, line(text).split(' ').flatMap((w, i) => [i ? ' ' : '', h('span', {}, w)]));
  const out = [h('pre', {class: 'cmd', tabindex: 0}, code)];
  if (navigator.clipboard) {
    const button = h('button', {type: 'button', onclick: async () => {
      try { await navigator.clipboard.writeText(text); button.textContent = 'Copied'; } catch { getSelection().selectAllChildren(code); }
      setTimeout(() => { button.textContent = 'Copy'; }, 1500);
    }}, 'Copy');
    out.push(button);
  }
  return out;
}

const stepLook = {passed: ['pass', 'pass'], failed: ['fail', 'fail'], skipped: ['none', 'none'], undefined: ['inconclusive', 'inconclusive'], pending: ['planned', 'none'], ambiguous: ['inconclusive', 'inconclusive']};
function story(r) {
  const placed = new Set();
  const list = h('ol', {class: 'story'});
  r.steps.forEach((step, i) => {
    const [ic, look] = stepLook[step.status] || ['none', 'none'];
    const exchanges = r.exchanges.filter((x) => x.step === i);
    exchanges.forEach((x) => placed.add(x));
    const checks = r.checks.filter((c) => c.step === i);
    list.append(h('li', {class: 'step v-' + look},
      h('span', {class: 'dot'}, icon(ic)),
      h('p', {class: 'line'}, h('span', {class: 'text'}, step.keyword && h('b', {}, line(step.keyword)), line(step.text), h('span', {class: 'vh'}, ', ' + step.status)), h('span', {class: 'time'}, step.status === 'skipped' ? 'skipped' : took(step.took_ns))),
      step.error && h('pre', {class: 'err'}, show(step.error)),
      checks.length > 0 && h('div', {class: 'checks', role: 'list'}, checks.map(check)),
      exchanges.map(exchange)));
  });
  const rest = r.exchanges.filter((x) => !placed.has(x));
  const loose = r.checks.filter((c) => !(c.step >= 0 && c.step < r.steps.length));
  return [list,
    (rest.length > 0 || loose.length > 0) && h('div', {class: 'step'}, h('p', {class: 'muted'}, 'Outside the steps'), h('div', {class: 'checks'}, loose.map(check)), rest.map(exchange)),
    r.exchanges_omitted > 0 && h('p', {class: 'omitted'}, r.exchanges_omitted + ' more exchanges of this long scenario were left out of its middle.')];
}

const roles = {
  witness: 'the same request with a good token must be accepted, or the refusal proves nothing',
  contrast: 'without any token the page must be refused, or being served proves nothing',
  refusal: 'what the farm must not accept', survivor: "a bystander's session must still work afterwards", expectation: 'what the step expects',
};
function check(c) {
  return h('div', {class: 'check ' + (c.ok ? 'v-pass' : 'v-fail bad'), role: 'listitem', title: roles[c.kind]},
    icon(c.ok ? 'pass' : 'fail'),
    h('span', {class: 'kind'}, line(c.kind), h('span', {class: 'vh'}, c.ok ? ' held: ' : ' did not hold: ')),
    h('span', {}, h('small', {}, 'expected'), line(c.expected)),
    h('span', {}, h('small', {}, 'got'), line(c.actual)),
    c.exchange > 0 && h('a', {href: '#x' + c.exchange, onclick: (e) => { e.preventDefault(); goTo(c.exchange); }, 'aria-label': 'Exchange ' + c.exchange}, '#' + c.exchange));
}

function goTo(n) {
  const x = document.getElementById('x' + n);
  if (!x) return;
  x.open = true;
  x.scrollIntoView({block: 'start'});
  $('summary', x).focus({preventScroll: true});
  x.classList.add('lit');
  setTimeout(() => x.classList.remove('lit'), 1600);
}

function exchange(x) {
  const d = h('details', {class: 'xch', id: 'x' + x.n},
    h('summary', {}, h('span', {class: 'num'}, x.n), h('span', {class: 'who'}, line(x.browser) + (x.member ? ' → ' + line(x.member) : '')), h('span', {class: 'url'}, line(x.method) + ' ' + path(x.url)), h('span', {class: 'st'}, x.status ? x.status : 'no answer'), h('span', {class: 'tm'}, took(x.took_ns))));
  d.addEventListener('toggle', () => {
    if (!d.open || d.childElementCount > 1) return;
    d.append(h('div', {class: 'xbody'},
      h('div', {}, h('h4', {}, 'Request'), h('p', {class: 'start'}, line(x.method) + ' ' + line(x.url)), headers(x.request_header), payload(x.request_body)),
      h('div', {}, h('h4', {}, 'Answer after ' + took(x.took_ns)), h('p', {class: 'start'}, x.status ? String(x.status) : 'No answer: ' + line(x.error)), x.status && x.error ? h('p', {}, line(x.error)) : null, headers(x.header), payload(x.body, x.body_bytes))));
  });
  return d;
}
const headers = (list) => list && list.length > 0 && h('dl', {class: 'hdr'}, list.map((f) => h('div', {}, h('dt', {}, line(f.name)), h('dd', {}, line(f.value)))));
function payload(text, size) {
  if (!text) return size > 0 ? h('p', {class: 'omitted'}, size + ' bytes, not kept.') : null;
  const length = new TextEncoder().encode(text).length;
  return [h('pre', {class: 'payload', tabindex: 0}, show(text)), size > length && h('p', {}, 'The first ' + length + ' of ' + size + ' bytes.')];
}

// The sequence diagram: a lifeline for each who took part, an arrow for each
// message. Where a farm shows nothing of its inside, the exchanges alone make it.
function diagram(r) {
  const byN = new Map(r.exchanges.map((x) => [x.n, x]));
  let messages = r.messages;
  if (!messages.length) {
    messages = r.exchanges.flatMap((x) => {
      const there = x.member || 'farm';
      return [
        {from: x.browser, to: there, op: x.method, detail: path(x.url), ok: true, exchange: x.n},
        {from: there, to: x.browser, op: x.status ? String(x.status) : 'no answer', detail: '', ok: !!x.status, exchange: x.n},
      ];
    });
  }
  if (!messages.length) return null;
  const name = (who, m) => who === 'browser' && byN.has(m.exchange) ? byN.get(m.exchange).browser || who : who;
  const browsers = new Set(['browser', ...r.exchanges.map((x) => x.browser)]);
  const kind = (who) => who === 'service' ? 'session service' : who === 'database' ? 'session database' : browsers.has(who) ? 'browser' : 'web server';
  const order = ['browser', 'web server', 'session service', 'session database'];
  let all = messages.map((m) => ({...m, from: name(m.from, m), to: name(m.to, m)}));
  // Many browsers at once, as in a race, share one lifeline; each message names its own.
  const people = new Set(all.flatMap((m) => [m.from, m.to]).filter((l) => kind(l) === 'browser'));
  if (people.size > 4) {
    const crowd = people.size + ' browsers';
    browsers.add(crowd);
    const fold = (l) => people.has(l) ? crowd : l;
    all = all.map((m) => ({...m, from: fold(m.from), to: fold(m.to), who: people.has(m.from) ? m.from : people.has(m.to) ? m.to : ''}));
  }
  const lanes = [...new Set(all.flatMap((m) => [m.from, m.to]))];
  const first = new Map(lanes.map((l, i) => [l, i]));
  lanes.sort((a, b) => order.indexOf(kind(a)) - order.indexOf(kind(b)) ||
    (kind(a) === 'web server' ? a.localeCompare(b, 'en', {numeric: true}) : first.get(a) - first.get(b)));
  const outer = (m) => kind(m.from) === 'browser' || kind(m.to) === 'browser';
  const inside = all.filter((m) => !outer(m)).length;

  const refused = all.filter((m) => !m.ok).length;
  const caption = `${all.length} messages between ${lanes.map(line).join(', ')}` + (refused ? `; ${refused} refused` : '') + '. Numbers are those of the exchanges above.';
  const box = h('div', {class: 'seq', tabindex: 0, role: 'region', 'aria-label': 'Sequence diagram, scrolls'});
  const paint = (whole) => box.replaceChildren(...sequence(whole ? all : all.filter(outer), lanes.filter((l) => whole || all.some((m) => outer(m) && (m.from === l || m.to === l))), kind, r, byN, caption));
  paint(true);
  const legend = (draw, text) => h('span', {}, s('svg', {width: 34, height: 14, 'aria-hidden': 'true', class: 'seq-key'}, draw), text);
  return h('figure', {},
    h('figcaption', {}, caption),
    h('div', {class: 'seqbar'},
      inside > 0 && h('label', {}, h('input', {type: 'checkbox', checked: true, onchange: (e) => paint(e.target.checked)}), `inside of the farm (${inside})`),
      legend(s('path', {d: 'M2 7h26', stroke: 'currentColor', 'stroke-width': 1.5}), 'request'),
      legend(s('path', {d: 'M2 7h30', stroke: 'currentColor', 'stroke-width': 1.5, 'stroke-dasharray': '5 4'}), 'answer'),
      legend(s('path', {class: 'cross', d: 'M12 2l10 10M22 2l-10 10'}), 'refused'),
      inside > 0 && legend(s('path', {d: 'M6 2h16v9h-14', fill: 'none', stroke: 'currentColor', 'stroke-width': 1.5}), 'own act')),
    box,
    h('details', {class: 'astext'}, h('summary', {}, 'The same as text'), h('ol', {}, all.map((m) => h('li', {}, sentence(m))))));
}
function sentence(m) {
  const what = (m.who ? line(m.who) + ': ' : '') + [m.op, m.detail].filter(Boolean).map(line).join(': ');
  const who = m.from === m.to ? line(m.from) + ' by itself' : line(m.from) + ' to ' + line(m.to);
  return who + ', ' + what + (m.ok ? '' : ' (refused)') + (m.exchange ? ' [exchange ' + m.exchange + ']' : '');
}

const gauge = document.createElement('canvas').getContext('2d');
function width(text, bold) {
  gauge.font = (bold ? '600 ' : '') + '12px ' + getComputedStyle(document.body).fontFamily;
  return gauge.measureText(text).width;
}
function fit(text, room, bold) {
  if (room <= 0) return '';
  if (width(text, bold) <= room) return text;
  let lo = 0, hi = text.length;
  while (lo < hi) {
    const mid = (lo + hi + 1) >> 1;
    if (width(text.slice(0, mid) + '…', bold) <= room) lo = mid; else hi = mid - 1;
  }
  return lo ? text.slice(0, lo) + '…' : '';
}

function sequence(messages, lanes, kind, r, byN, caption) {
  const at = new Map(lanes.map((l, i) => [l, i]));
  const parts = (m) => {
    // "GET /page" and "303 See Other" say themselves that they are request and answer.
    const plain = /^(request|answer)$/.test(m.op) && m.detail ? /^(\S+) ?(.*)$/.exec(line(m.detail)) : null;
    const [op, detail] = plain ? plain.slice(1) : [line(m.op), line(m.detail)];
    return {op: (m.who ? line(m.who) + ' ' : '') + op, detail, end: m.ok ? '' : 'refused'};
  };
  const wide = (m) => { const p = parts(m); return width(p.op, true) + (p.detail ? width(p.detail) + 7 : 0) + (p.end && !/refus|denied|no answer/i.test(p.op + p.detail) ? width(p.end, true) + 12 : 0); };

  // Room between neighbours: what the labels between them ask for, within reason.
  const small = document.documentElement.clientWidth <= 704;
  const least = small ? 104 : 124, most = 250, half = small ? 48 : 59;
  const gaps = lanes.slice(1).map(() => least);
  let right = 60;
  for (const m of messages) {
    const [a, b] = [at.get(m.from), at.get(m.to)].sort((x, y) => x - y);
    if (a === b) {
      const need = wide(m) + 44;
      if (a < gaps.length) gaps[a] = Math.max(gaps[a], Math.min(need, 190)); else right = Math.max(right, Math.min(need, most));
    } else if (b - a === 1) gaps[a] = Math.max(gaps[a], Math.min(wide(m) + 54, most));
  }
  // A wide window is used, not left empty at the right.
  const room = Math.min(document.documentElement.clientWidth, 1184) - (small ? 36 : 52);
  const left = half + 11;
  const spare = room - (left + gaps.reduce((sum, g) => sum + g, 0) + Math.max(right, 70));
  if (spare > 0 && gaps.length) gaps.forEach((g, i) => { gaps[i] += Math.floor(spare / gaps.length); });
  // A little too wide is made to fit at the cost of a few shortened labels, which their titles keep.
  const slack = gaps.reduce((sum, g) => sum + g - least, 0);
  if (!small && spare < 0 && -spare <= 0.6 * slack) gaps.forEach((g, i) => { gaps[i] -= Math.ceil((g - least) * -spare / slack); });
  const x = [left];
  gaps.forEach((g) => x.push(x[x.length - 1] + g));
  const total = Math.max(room - 1, Math.ceil(x[x.length - 1] + Math.max(right, 70)));

  const rows = [];
  let y = 10, step = -2;
  const bands = [];
  for (const m of messages) {
    const known = byN.get(m.exchange);
    if (known && known.step !== step && r.steps[known.step]) {
      step = known.step;
      y += rows.length ? 10 : 0;
      bands.push({y, step});
      y += 34;
    }
    const self = m.from === m.to;
    rows.push({m, y, self});
    y += self ? 30 : 36;
  }
  const height = y + 14;

  const head = s('svg', {class: 'head', width: total, height: 54, viewBox: `0 0 ${total} 54`, 'aria-hidden': 'true'}, lanes.map((l, i) => {
    const label = fit(line(l), 2 * half - 8, true), sub = line(l) === kind(l) || / browsers$/.test(l) ? '' : fit(kind(l), 2 * half - 6);
    return s('g', {}, s('rect', {class: 'box', x: x[i] - half, y: 7, width: 2 * half, height: 40, rx: kind(l) === 'browser' ? 20 : kind(l) === 'session database' ? 3 : 8}),
      s('text', {class: 'lane', x: x[i], y: sub ? 24 : 31, 'text-anchor': 'middle'}, label),
      sub && s('text', {class: 'sub', x: x[i], y: 39, 'text-anchor': 'middle'}, sub));
  }));
  const id = 'seq-title';
  const body = s('svg', {width: total, height, viewBox: `0 0 ${total} ${height}`, role: 'group', 'aria-labelledby': id}, s('title', {id}, caption),
    x.map((p) => s('line', {class: 'life', x1: p, x2: p, y1: 0, y2: height})));
  for (const b of bands) {
    const t = line(r.steps[b.step].keyword + ' ' + r.steps[b.step].text);
    body.append(s('g', {}, s('rect', {class: 'band', x: 0, y: b.y, width: total, height: 24}), s('text', {class: 'bandtext', x: 12, y: b.y + 16}, fit(t, total - 24, true), s('title', {}, t))));
  }
  for (const {m, y, self} of rows) body.append(arrow(m, y, self));
  return [head, body];

  function arrow(m, y, self) {
    const a = x[at.get(m.from)], b = x[at.get(m.to)];
    const p = parts(m);
    const note = p.end && !/refus|denied|no answer/i.test(p.op + p.detail) ? ' ✕ ' + p.end : '';
    const outer = kind(m.from) === 'browser' || kind(m.to) === 'browser';
    const back = kind(m.to) === 'browser' && !self;
    const g = s('g', {class: [m.ok ? 'yes' : 'no', outer ? 'outer' : 'inner'].join(' ')}, s('title', {}, sentence(m)));
    if (m.exchange && byN.has(m.exchange) && outer) {
      fill(g, {'data-x': m.exchange, role: 'link', tabindex: back ? -1 : 0, 'aria-label': sentence(m), onclick: () => goTo(m.exchange), onkeydown: (e) => { if (e.key === 'Enter') goTo(m.exchange); }}, []);
    }
    const label = (lx, ly, room, anchor) => {
      const op = fit(p.op, room - width(note, true), true);
      const rest = fit(p.detail, room - width(op, true) - width(note, true) - 7);
      return s('text', {class: 'halo', x: lx, y: ly, 'text-anchor': anchor}, s('tspan', {class: 'op'}, op), rest && s('tspan', {class: 'detail'}, ' ' + rest), note && s('tspan', {class: 'op'}, note));
    };
    if (self) {
      const last = at.get(m.from) === lanes.length - 1;
      g.append(s('path', {class: 'act', d: `M${a} ${y + 7}h16v11h-10`}), m.ok ? s('path', {class: 'tip', d: `M${a + 1} ${y + 18}l7 -3.5v7z`}) : s('path', {class: 'cross', d: `M${a + 2} ${y + 14}l8 8m0 -8l-8 8`}),
        label(a + 24, y + 17, last ? right - 28 : gaps[at.get(m.from)] + 40, 'start'));
      return g;
    }
    const way = Math.sign(b - a), ly = y + 24;
    const numbered = outer && m.exchange;
    const from = a + way * (numbered ? 10 : 0), to = b - way * (m.ok ? 8 : 15);
    g.append(s('line', {class: 'act' + (back ? ' back' : ''), x1: from, x2: to, y1: ly, y2: ly}),
      m.ok ? s('path', {class: 'tip', d: `M${b - way} ${ly}l${-way * 9} -4.5v9z`}) : s('path', {class: 'cross', d: `M${b - way * 11 - 5} ${ly - 5}l10 10m0 -10l-10 10`}),
      label((a + b) / 2 + (numbered ? way * 5 : 0), ly - 7, Math.abs(b - a) - (numbered ? 40 : 24), 'middle'));
    if (numbered) g.append(s('circle', {class: back ? 'dotb' : 'dotn', cx: a, cy: ly, r: 10}), s('text', {class: back ? 'nn nb' : 'nn', x: a, y: ly + 3.7}, String(m.exchange)));
    return g;
  }
}

// Filters of the ledger and of the cases.
function filter(form) {
  const root = document.getElementById(form.dataset.for);
  const items = $$('.item', root).map((e) => ({e, text: e.textContent.toLowerCase(), chips: e.matches('li') ? $$('a.chip', e) : []}));
  const apply = () => {
    const f = Object.fromEntries(new FormData(form));
    const terms = f.q.toLowerCase().split(/\s+/).filter(Boolean);
    let n = 0;
    for (const {e, text, chips} of items) {
      let fits = terms.every((t) => text.includes(t)) && (!f.l || e.dataset.l === f.l) && (!f.p || e.dataset.p === f.p);
      if (chips.length) {
        let any = 0;
        for (const c of chips) {
          c.hidden = !((!f.v || c.dataset.v === f.v) && (!f.t || c.dataset.t === f.t));
          if (!c.hidden) any++;
        }
        fits = fits && any > 0;
        if (fits) n += any;
      } else {
        fits = fits && (!f.v || e.dataset.v === f.v);
        if (fits) n++;
      }
      e.hidden = !fits;
    }
    for (const g of $$('.group', root)) g.hidden = !$$('.item', g).some((e) => !e.hidden);
    $('output', form).textContent = n + ' shown';
  };
  form.addEventListener('input', apply);
  form.addEventListener('submit', (e) => e.preventDefault());
  form.addEventListener('reset', () => setTimeout(apply));
  form.hidden = false;
  apply();
}
const forms = $$('form.filter');
forms.forEach(filter);
// reveal clears the filter that hides an entry.
function reveal(e) {
  if (!e.hidden) return;
  for (const f of forms) if (document.getElementById(f.dataset.for).contains(e)) { for (const i of f.elements) i.value = ''; f.dispatchEvent(new Event('input')); }
}

addEventListener('hashchange', route);
addEventListener('keydown', (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName)) return;
  if (e.key === '/' && view.hidden) { e.preventDefault(); $('#cases input').focus(); }
  if (e.key === 'Escape' && !view.hidden) location.hash = '';
});
route();
})();
