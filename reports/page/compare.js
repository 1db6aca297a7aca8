'use strict';
// The page reads without this: it filters the matrix, opens what a link leads
// to, and unpacks the exchanges of a case.
(() => {
const $ = (q, r = document) => r.querySelector(q), $$ = (q, r = document) => [...r.querySelectorAll(q)];
const SVG = 'http://www.w3.org/2000/svg';
const index = $('#index'), view = $('#case'), title = document.title;
const impls = JSON.parse($('#impls').textContent);

// Elements are made from text nodes and attributes only: what a farm sent is
// shown and never parsed.
function fill(e, attrs, kids) {
  for (const [k, v] of Object.entries(attrs || {})) {
    if (v === undefined || v === null || v === false) continue;
    if (k.startsWith('on')) e.addEventListener(k.slice(2), v); else e.setAttribute(k, v === true ? '' : v);
  }
  for (const kid of kids.flat(3)) if (kid || kid === 0) e.append(kid);
  return e;
}
const h = (tag, attrs, ...kids) => fill(document.createElement(tag), attrs, kids);
const s = (tag, attrs, ...kids) => fill(document.createElementNS(SVG, tag), attrs, kids);
const icon = (name) => s('svg', {class: 'i', 'aria-hidden': 'true'}, s('use', {href: '#i-' + name}));
const word = (v) => ({'not-offered': 'not offered', 'not-run': 'not run'})[v] || v;
const badge = (v) => h('span', {class: 'badge v-' + v}, icon(v), word(v));

// Filter: it holds for the matrix and the list.
const form = $('#cfilter'), list = $$('.creq').map((e) => ({e, text: e.textContent.toLowerCase(), verdicts: e.dataset.v.split(' ')}));
const rows = new Map($$('#cmatrix tr[data-r]').map((r) => [r.dataset.r, r]));
function apply() {
  const f = Object.fromEntries(new FormData(form));
  const terms = f.q.toLowerCase().split(/\s+/).filter(Boolean);
  let n = 0;
  for (const {e, text, verdicts} of list) {
    const d = e.dataset;
    const fits = terms.every((t) => text.includes(t)) && (!f.d || (f.d === 'differs' ? d.d !== 'none' : d.d === f.d)) && (!f.v || verdicts.includes(f.v)) && (!f.p || d.p === f.p);
    e.hidden = rows.get(d.r).hidden = !fits;
    if (fits) n++;
  }
  for (const group of [...$$('#cmatrix tbody'), ...$$('#clist .group')]) group.hidden = !$$('[data-r]', group).some((e) => !e.hidden);
  $('output', form).textContent = n + ' shown';
}
form.addEventListener('input', apply);
form.addEventListener('submit', (e) => e.preventDefault());
form.hidden = false;
if (form.elements.d.options[0].textContent.includes('(0)')) form.elements.d.value = '';
apply();

async function evidence(n) {
  const bytes = Uint8Array.from(atob($('#e' + n).textContent.trim()), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).json();
}

// Addresses: #case=ID opens a case, any other fragment is a place in the index.
const links = $$('#ccases a');
const decode = (text) => { try { return decodeURIComponent(text); } catch { return text; } };
let scrolled = 0, turn = 0;
async function route(event) {
  const hash = location.hash.slice(1), now = ++turn;
  if (!hash.startsWith('case=')) {
    const was = !view.hidden;
    view.hidden = true; index.hidden = false; document.title = title;
    const place = hash ? document.getElementById(decode(hash)) : null;
    if (place) {
      if (place.hidden) { form.elements.q.value = form.elements.d.value = form.elements.v.value = form.elements.p.value = ''; apply(); }
      if (place.matches('details')) place.open = true;
      place.scrollIntoView();
    } else if (was && event) scrollTo({top: scrolled, behavior: 'instant'});
    return;
  }
  if (!index.hidden) scrolled = scrollY;
  const id = decode(hash.slice(5)), at = links.findIndex((a) => decode(a.getAttribute('href')) === '#case=' + id);
  let content;
  if (at < 0) content = [back(-1), h('h1', {tabindex: -1}, 'No such case'), h('p', {class: 'lede'}, 'This comparison has no case ' + id + '.')];
  else {
    try { content = draw(await evidence(at), at); } catch (e) { content = [back(-1), h('h1', {tabindex: -1}, 'The evidence does not open'), h('p', {class: 'lede'}, 'This browser cannot unpack it (' + (e.message || e) + ').')]; }
  }
  if (now !== turn) return;
  index.hidden = true; view.hidden = false;
  view.replaceChildren(...content.flat(2).filter(Boolean));
  document.title = $('h1', view).textContent + ' · ' + title;
  scrollTo({top: 0, behavior: 'instant'});
  $('h1', view).focus({preventScroll: true});
}

function back(at) {
  const link = (a, text) => a && h('a', {href: a.getAttribute('href')}, text);
  return h('div', {class: 'crumbs'}, h('a', {href: '#matrix', onclick: (e) => { if (scrolled) { e.preventDefault(); location.hash = ''; } }}, '← Comparison'),
    at >= 0 && h('span', {}, link(links[at - 1], '‹ Previous case'), link(links[at + 1], 'Next case ›')));
}

function draw(c, at) {
  const place = h('div', {});
  const others = c.cases.map((x, i) => i).filter((i) => i > 0 && c.cases[i].beside);
  const pick = h('div', {class: 'pick', role: 'group', 'aria-label': 'Implementation to set beside A'}, others.map((i) => h('button', {type: 'button', 'aria-pressed': 'false', onclick: () => choose(i)}, impls[i].label + '  ' + impls[i].name)));
  const choose = (i) => {
    [...pick.children].forEach((b, k) => b.setAttribute('aria-pressed', String(others[k] === i)));
    place.replaceChildren(...pairs(c.cases[0], c.cases[i], i));
  };
  if (others.length) choose(others.find((i) => c.cases[i].verdict !== c.cases[0].verdict) ?? others[0]);
  return [back(at),
    h('p', {class: 'case-head'}, h('span', {class: 'mono muted'}, c.id)),
    h('h1', {tabindex: -1}, c.name),
    h('dl', {class: 'cwhy'}, c.cases.map((x, i) => h('div', {class: 'v-' + x.verdict + (x.verdict !== c.cases[0].verdict ? ' d' : '')},
      h('dt', {}, h('b', {class: 'letter'}, impls[i].label), badge(x.verdict)),
      h('dd', {}, h('div', {}, x.reason || h('span', {class: 'muted'}, impls[i].name)), x.repeat && h('code', {class: 'muted'}, x.repeat))))),
    h('h2', {id: 'exchanges'}, 'Exchanges beside A'),
    others.length ? pick : h('p', {class: 'muted'}, 'The case was not run on A and another, so there is nothing to set side by side.'),
    place];
}

function pairs(ref, own, i) {
  const out = [h('div', {class: 'dhead'}, h('span', {}, impls[0].label + ' ' + impls[0].name), h('span', {}, impls[i].label + ' ' + impls[i].name))];
  let step = null;
  for (const p of own.beside) {
    const a = p.reference && ref.exchanges[p.reference - 1], b = p.this && own.exchanges[p.this - 1];
    const here = (b || a).step;
    if (here !== step) { step = here; if (step) out.push(h('p', {class: 'dstep'}, step)); }
    const differs = p.differs || [];
    out.push(h('div', {class: 'dpair' + (a && b && !differs.length ? ' same' : '')}, side(a, differs), side(b, differs)));
  }
  const left = (ref.omitted || 0) + (own.omitted || 0);
  if (left) out.push(h('p', {class: 'omitted'}, left + ' exchanges of the middle of this long case were not kept.'));
  return out;
}

function side(x, differs) {
  if (!x) return h('div', {class: 'dx nil'}, 'no such exchange');
  const ch = (name) => differs.includes(name) ? 'ch' : null;
  return h('div', {class: 'dx'},
    h('div', {class: 'req1'}, h('span', {class: 'who'}, x.browser), h('span', {class: 'mono'}, x.method + ' ', h('span', {class: ch('path')}, x.path)), x.member && h('span', {class: 'who'}, x.member), h('span', {class: 'st ' + (ch('status') || '')}, x.status || 'no answer')),
    x.error && h('p', {class: ch('error')}, x.error),
    x.headers && x.headers.length > 0 && h('dl', {}, x.headers.map((v) => h('div', {}, h('dt', {}, v.name === 'Cookie' ? 'Cookie sent' : v.name), h('dd', {}, h('span', {class: ch(v.name)}, v.value))))));
}

addEventListener('hashchange', route);
addEventListener('keydown', (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName)) return;
  if (e.key === '/' && view.hidden) { e.preventDefault(); form.elements.q.focus(); }
  if (e.key === 'Escape' && !view.hidden) location.hash = '';
});
route();
})();
