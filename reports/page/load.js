'use strict';
// The page reads without this, save for the axes' labels, which it places: the
// drawing stretches with the window and letters must not. It also shows the
// values under the pointer and hides lines.
(() => {
for (const figure of document.querySelectorAll('.chart')) {
  const data = JSON.parse(figure.dataset.chart), plot = figure.querySelector('.plot'), lines = figure.querySelector('.lines');
  const cross = figure.querySelector('.cross'), out = figure.querySelector('.readout'), labels = figure.querySelector('.labels');
  const off = new Set();
  let at = -1;

  const place = () => {
    const box = lines.getBoundingClientRect(), origin = plot.getBoundingClientRect();
    const left = box.left - origin.left, top = box.top - origin.top;
    let end = -Infinity;
    for (const t of labels.children) {
      const v = Number(t.dataset.at);
      if (t.classList.contains('y')) {
        t.setAttribute('x', left - 8); t.setAttribute('y', top + v / 260 * box.height + 4); t.setAttribute('text-anchor', 'end');
        continue;
      }
      const x = left + v / 1000 * box.width, width = t.getComputedTextLength();
      t.setAttribute('x', x); t.setAttribute('y', top + box.height + 20); t.setAttribute('text-anchor', 'middle');
      const fits = x - width / 2 > end + 8; // labels that would overlap are left out
      t.setAttribute('visibility', fits ? 'visible' : 'hidden');
      if (fits) end = x + width / 2;
    }
  };

  const show = (i) => {
    at = i;
    cross.setAttribute('visibility', i < 0 ? 'hidden' : 'visible');
    if (i < 0) { out.replaceChildren(); return; }
    cross.setAttribute('d', `M${data.x[i]} 0V260`);
    const parts = [data.label[i]];
    data.names.forEach((name, n) => {
      if (off.has(n) || !data.values[n][i]) return;
      const b = document.createElement('b');
      b.textContent = data.values[n][i];
      parts.push(` · ${name} `, b);
    });
    out.replaceChildren(...parts);
  };

  const nearest = (x) => {
    let best = 0;
    data.x.forEach((v, i) => { if (Math.abs(v - x) < Math.abs(data.x[best] - x)) best = i; });
    return best;
  };
  plot.addEventListener('pointermove', (e) => {
    const box = lines.getBoundingClientRect();
    show(nearest((e.clientX - box.left) / box.width * 1000));
  });
  plot.addEventListener('pointerleave', () => show(-1));
  figure.addEventListener('keydown', (e) => {
    const step = {ArrowLeft: -1, ArrowRight: 1}[e.key];
    if (!step || e.target !== figure) return;
    e.preventDefault();
    show(Math.min(data.x.length - 1, Math.max(0, at + step)));
  });
  for (const key of figure.querySelectorAll('.key')) {
    key.addEventListener('click', () => {
      const n = Number(key.dataset.n), hide = !off.has(n);
      off[hide ? 'add' : 'delete'](n);
      key.setAttribute('aria-pressed', String(!hide));
      figure.querySelector(`.s${n}`).classList.toggle('off', hide);
      show(at);
    });
  }
  new ResizeObserver(place).observe(plot);
  place();
}
})();
