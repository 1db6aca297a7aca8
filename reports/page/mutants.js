'use strict';
// The page reads without this: it filters the matrix, names the cell under the
// pointer and opens the fault that a link leads to.
(() => {
const $ = (s, r = document) => r.querySelector(s), $$ = (s, r = document) => [...r.querySelectorAll(s)];
const table = $('.mx'), heads = $$('thead th', table), out = $('.readout');

// Cell under the pointer.
let lit = null;
table.addEventListener('mouseover', (e) => {
  const td = e.target.closest('td, th');
  if (!td) return;
  if (lit) lit.classList.remove('hi');
  lit = td.parentNode.parentNode.tagName === 'TBODY' && td.tagName === 'TD' ? heads[td.cellIndex] : null;
  if (!lit) return;
  lit.classList.add('hi');
  const verb = td.classList.contains('n') ? 'is convicted by' : td.classList.contains('o') ? 'is also convicted by' : td.classList.contains('m') ? 'should be, and is not, convicted by' : 'is not convicted by';
  const name = (s) => { const b = document.createElement('b'); b.textContent = s; return b; };
  out.replaceChildren(name(td.parentNode.firstElementChild.textContent.trim()), ' ' + verb + ' ', name(lit.textContent));
});
table.addEventListener('mouseleave', () => { if (lit) lit.classList.remove('hi'); lit = null; out.textContent = '\u00a0'; });

// Filters.
const form = $('#mfilter'), items = $$('.fault').map((e) => ({e, text: e.textContent.toLowerCase()}));
const rows = new Map($$('tbody tr', table).map((r) => [r.dataset.f, r]));
const sheet = document.styleSheets[0];
let rule = -1;
const apply = () => {
  const f = Object.fromEntries(new FormData(form));
  const terms = f.q.toLowerCase().split(/\s+/).filter(Boolean);
  let n = 0;
  for (const {e, text} of items) {
    const fits = terms.every((t) => text.includes(t)) && (!f.s || e.dataset.s === f.s);
    e.hidden = rows.get(e.dataset.f).hidden = !fits;
    if (fits) n++;
  }
  if (rule >= 0) sheet.deleteRule(rule);
  rule = -1;
  if (f.c) {
    const [first, last] = f.c.split(' ').map(Number);
    rule = sheet.insertRule(`.mx tr > :not(:first-child):not(:nth-child(n + ${first}):nth-child(-n + ${last})) { display: none }`, sheet.cssRules.length);
  }
  $('output', form).textContent = n + ' shown';
};
form.addEventListener('input', apply);
form.addEventListener('submit', (e) => e.preventDefault());
form.hidden = false;
apply();

// Links: a fault opens, an outline's ID leads to its first row.
function route() {
  const id = decodeURIComponent(location.hash.slice(1));
  let e = document.getElementById(id);
  if (!e && id.startsWith('s-')) e = $$('[data-o]').find((li) => li.dataset.o.startsWith(id.slice(2) + '/'));
  if (!e) return;
  if (e.hidden) { form.reset(); apply(); }
  if (e.matches('details')) e.open = true;
  e.scrollIntoView();
}
addEventListener('hashchange', route);
addEventListener('keydown', (e) => {
  if (e.key === '/' && !/^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName) && !e.ctrlKey && !e.metaKey && !e.altKey) { e.preventDefault(); form.elements.q.focus(); }
});
route();
})();
