package reports

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/farmspec/farmspec"
)

// browser opens a real browser without a window, or skips. What the page
// complains of or asks the network for is kept.
type browser struct {
	ctx context.Context
	t   *testing.T

	mu       sync.Mutex
	said     []string
	requests []string
}

// patience bounds a step that hangs; on a busy machine one may take many seconds.
const patience = time.Minute

func openBrowser(t *testing.T) *browser {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium here")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true), chromedp.UserDataDir(t.TempDir()))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits for the browser, which still writes to its folder
		cancel()
	})
	b := &browser{ctx: ctx, t: t}
	err := chromedp.Listen(ctx, func(event any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			b.said = append(b.said, "exception: "+e.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			b.said = append(b.said, "console: "+string(e.Type))
		case *cdplog.EventEntryAdded:
			b.said = append(b.said, "log: "+e.Entry.Text)
		case *network.EventRequestWillBeSent:
			b.requests = append(b.requests, e.Request.URL)
		}
	})
	if err != nil {
		t.Skipf("the browser does not start: %v", err)
	}
	return b
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// ask evaluates an expression in the page.
func ask[T any](b *browser, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits for an expression to become true.
func (b *browser) until(expression string) {
	b.t.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(patience))); err != nil {
		b.t.Fatalf("wait for %s: %v", expression, err)
	}
}

// shown waits until what the selector finds is to be seen.
func (b *browser) shown(selector string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`!!document.querySelector(%[1]q) && document.querySelector(%[1]q).checkVisibility()`, selector))
}

// run evaluates statements in the page.
func (b *browser) run(script string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](script))
}

// size makes the window that wide.
func (b *browser) size(width int64) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: 844, DeviceScaleFactor: 1, Mobile: width < 600,
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// quiet fails if the page complained, or asked for anything but itself.
func (b *browser) quiet(page string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.said {
		b.t.Errorf("the page says: %s", s)
	}
	for _, r := range b.requests {
		if r, _, _ := strings.Cut(r, "#"); r != page {
			b.t.Errorf("the page asks for %s", r)
		}
	}
	if len(b.requests) == 0 {
		b.t.Error("not even the page was asked for; is the observer at work?")
	}
}

func pageAddress(t *testing.T, r *farmspec.Report) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := writeTo(quick{}, dir, r, fixtureCatalogue()); err != nil {
		t.Fatal(err)
	}
	return (&url.URL{Scheme: "file", Path: filepath.Join(dir, PageFile)}).String()
}

const overflow = `document.documentElement.scrollWidth - document.documentElement.clientWidth`

func TestPageInABrowser(t *testing.T) {
	b := openBrowser(t)
	page := pageAddress(t, fixture(1))
	for _, width := range []int64{360, 390, 1280} {
		b.size(width)
		b.do(chromedp.Navigate(page))
		if n := ask[int](b, overflow); n > 0 {
			t.Errorf("%d wide: the index overflows by %d", width, n)
		}
		b.run(`document.querySelectorAll('details').forEach((d) => { d.open = true })`)
		if n := ask[int](b, overflow); n > 0 {
			t.Errorf("%d wide: the opened index overflows by %d", width, n)
		}
		// The address a person would type, plus signs and all.
		b.do(chromedp.Navigate(page + "#case=rotate.old-token-refused&target=reference/claimed+strict+split-domain"))
		b.shown("#case .seq svg.head")
		if got := ask[string](b, `document.querySelector('#case h1').textContent + '|' + document.querySelector('#case .badge').textContent`); got != "A token that has been replaced is refused|fail" {
			t.Errorf("%d wide: the link opens %q", width, got)
		}
		b.run(`document.querySelectorAll('#case details').forEach((d) => { d.open = true })`)
		b.shown("#x6 .payload")
		if n := ask[int](b, overflow); n > 0 {
			t.Errorf("%d wide: the case overflows by %d", width, n)
		}
	}
	for expression, want := range map[string]int{
		`document.querySelectorAll('.step').length`:                                    6,
		`document.querySelectorAll('.xch').length`:                                     6,
		`document.querySelectorAll('.check.bad').length`:                               1,
		`document.querySelectorAll('.seq .head rect').length`:                          6, // Ada, Eve, two servers, service, database
		`document.querySelectorAll('.seq svg:not(.head) > g:not(:has(.band))').length`: 32,
		`document.querySelectorAll('.astext li').length`:                               32,
	} {
		if got := ask[int](b, expression); got != want {
			t.Errorf("%s = %d, want %d", expression, got, want)
		}
	}
	// An arrow leads to its exchange, the switch hides the inside, Escape goes back.
	b.run(`document.querySelector('#x4').open = false; document.querySelector('.seq [data-x="4"]').dispatchEvent(new MouseEvent('click', {bubbles: true}))`)
	if !ask[bool](b, `document.querySelector('#x4').open && document.activeElement === document.querySelector('#x4 summary')`) {
		t.Error("the arrow of exchange 4 does not open it")
	}
	b.run(`document.querySelector(".seqbar input").click()`)
	if n := ask[int](b, `document.querySelectorAll('.seq .inner').length`); n != 0 {
		t.Errorf("%d messages of the inside are still drawn", n)
	}
	b.run(`dispatchEvent.call(document.body, new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}))`)
	b.shown("#index h1")

	// The filter of the cases, by verdict and by words.
	b.run(`(() => { const f = document.querySelector('form[data-for=scenarios]'); f.elements.v.value = 'fail'; f.dispatchEvent(new Event('input')); })()`)
	if got := ask[string](b, `[...document.querySelectorAll('#scenarios .item:not([hidden]) .s-name .mono')].map((e) => e.textContent).join(' ')`); got != "rotate.old-token-refused" {
		t.Errorf("failing cases: %q", got)
	}
	// A link to a requirement that a filter hides shows it nevertheless.
	b.run(`(() => { const f = document.querySelector('form[data-for=ledger]'); f.elements.q.value = 'ASVS'; f.dispatchEvent(new Event('input')); location.hash = 'r-WF-4.1'; })()`)
	b.shown("[id='r-WF-4.1'] .body")
	// A case that is not there says so.
	b.run(`location.hash = 'case=no.such&target=x'`)
	b.shown("#case h1")
	if got := ask[string](b, `document.querySelector('#case h1').textContent`); got != "No such case" {
		t.Errorf("an unknown case shows %q", got)
	}
	b.quiet(page)
}

func TestHostilePageInABrowser(t *testing.T) {
	b := openBrowser(t)
	page := pageAddress(t, hostile())
	b.size(390)
	b.do(chromedp.Navigate(page + "#case=rotate.old-token-refused&target=reference/claimed+strict+split-domain"))
	b.shown("#case .seq svg.head")
	b.run(`document.querySelectorAll('#case details').forEach((d) => { d.open = true })`)
	b.shown("#x6 .payload")
	if n := ask[int](b, `document.querySelectorAll('img, iframe, script:not([type]) ~ script').length`); n != 0 {
		t.Errorf("%d elements of the farm's making", n)
	}
	if n := ask[int](b, overflow); n > 0 {
		t.Errorf("the case overflows by %d", n)
	}
	shown := ask[string](b, `document.querySelector('#x6 .payload').textContent`)
	if !strings.HasPrefix(shown, "</script><script>alert(1)</script>") || !strings.Contains(shown, `\u001b]0;owned\u0007`) {
		t.Errorf("the body reads %.120q", shown)
	}
	b.quiet(page)
}
