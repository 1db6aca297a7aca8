package web_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
)

// A real browser takes the cookies, follows the hops and submits the forms, in
// each topology and each mode, over plain http at names under localhost.
func TestChromium(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		t.Skip("no Chromium here")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.WindowSize(1100, 800))
	ctx, cancelBrowser := chromedp.NewExecAllocator(ctx, options...)
	defer cancelBrowser()
	ctx, cancelTab := chromedp.NewContext(ctx)
	defer cancelTab()
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Skipf("Chromium does not start: %v", err)
	}
	for i, topology := range topologies {
		s := shape{topology, handoffs[i], reference.Coalesce, reference.RevokeFamily}
		t.Run(s.String(), func(t *testing.T) { driveChromium(t, ctx, s) })
	}
}

func driveChromium(t *testing.T, ctx context.Context, s shape) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	f := newFarmAt(t, port, s)
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.wire.mu.Lock()
		h := f.wire.hosts[r.Host]
		f.wire.mu.Unlock()
		if h == nil {
			http.NotFound(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})}
	go func() { _ = srv.Serve(ln) }()
	defer func() { _ = srv.Close() }()

	ctx, cancel := chromedp.NewContext(ctx, chromedp.WithNewBrowserContext())
	defer cancel()
	var at string
	var text string
	sees := func(path string) {
		t.Helper()
		if err := chromedp.Do(ctx, chromedp.WaitVisible(".marker")); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		text = read(t, ctx, chromedp.Text("body"))
		at = read(t, ctx, chromedp.Location())
		if !strings.Contains(text, "farm-page:"+path) || path != "/logout" && !strings.Contains(text, "Signed in as ada") {
			t.Fatalf("at %s the browser sees\n%s\nwant %s", at, text, path)
		}
		for _, secret := range []string{"handoff=", "sid=", "ts=", "ref="} {
			if strings.Contains(at, secret) {
				t.Errorf("the address bar keeps %s", secret)
			}
		}
	}
	// A hop's page strips its address once it is loaded.
	loaded := chromedp.Poll[chromedp.Void](`document.readyState === "complete"`)
	if err := chromedp.Do(ctx,
		chromedp.Navigate(f.url(1, "/server-2/cart?x=1")),
		chromedp.SendKeys(`input[name=user]`, "ada"), chromedp.SendKeys(`input[name=password]`, "ada's password"),
		chromedp.Click(`main button`), chromedp.WaitVisible(`input[name=item]`), loaded); err != nil {
		t.Fatal(err)
	}
	sees("/server-2/cart")
	if want := f.url(2, "/server-2/cart?x=1"); at != want {
		t.Errorf("the browser is at %s, want %s", at, want)
	}
	if err := chromedp.Do(ctx, chromedp.SendKeys(`input[name=item]`, "pear"), chromedp.Click(`main button`), chromedp.WaitVisible(`.items`)); err != nil {
		t.Fatal(err)
	}
	for _, step := range [][2]int{{2, 1}, {1, 3}, {1, 2}, {3, 3}, {1, 1}, {2, 3}} {
		path := fmt.Sprintf("/server-%d/chart.html", step[1])
		if err := chromedp.Do(ctx, chromedp.Navigate(f.url(step[0], path)), loaded); err != nil {
			t.Fatal(err)
		}
		sees(path)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(f.url(1, "/server-2/cart")), loaded); err != nil {
		t.Fatal(err)
	}
	sees("/server-2/cart")
	if !strings.Contains(text, "pear") {
		t.Error("the cart forgot the pear")
	}
	if dir := os.Getenv("FARMSPEC_PICTURES"); dir != "" {
		picture(t, ctx, f, dir)
	}
	signOut := `form[action$="/logout"] button`
	if err := chromedp.Do(ctx, chromedp.Reload(), loaded, chromedp.Click(`.out`), chromedp.WaitVisible(signOut), chromedp.Click(signOut),
		chromedp.WaitVisible(`a[href$="/login"]`)); err != nil {
		t.Fatal(err)
	}
	sees("/logout")
	for i := 1; i <= 3; i++ {
		if err := chromedp.Do(ctx, chromedp.Navigate(f.url(i, "/whoami")), chromedp.WaitVisible(`input[name=user]`)); err != nil {
			t.Fatalf("after log-out server-%d: %v", i, err)
		}
	}
}

func read[T any](t *testing.T, ctx context.Context, a chromedp.Action[T]) T {
	t.Helper()
	got, err := chromedp.Run(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// picture leaves screenshots for a person to look at.
func picture(t *testing.T, ctx context.Context, f *farm, dir string) {
	t.Helper()
	for _, path := range []string{web.LoginPath, web.HomePath, "/server-2/report.jsp", "/server-2/cart"} {
		name := strings.ReplaceAll(path, "/", "_")
		if err := chromedp.Do(ctx, chromedp.Navigate(f.url(1, path))); err != nil {
			t.Fatal(err)
		}
		png := read(t, ctx, chromedp.FullScreenshot(100))
		if err := os.WriteFile(fmt.Sprintf("%s/page%s.png", dir, name), png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
