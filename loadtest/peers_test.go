package loadtest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/loadtest"
)

// peerSessions is how many sessions each peer has, and peerConnections over how
// many connections at once it asks for pages.
const (
	peerSessions    = 64
	peerConnections = 16
)

// signedIn logs users in and returns the Cookie field of each.
func signedIn(b *testing.B, target *farmspec.Target) []string {
	b.Helper()
	var cookies []string
	m := target.Members[0]
	for range peerSessions {
		u, err := target.Hooks.Accounts.New(b.Context(), "peer")
		if err != nil {
			b.Fatal(err)
		}
		browser := farmspec.NewBrowser(farmspec.BrowserOptions{Target: target})
		form, err := browser.Open(b.Context(), m.At(target.Login.Path))
		if err != nil {
			b.Fatal(err)
		}
		if _, err = browser.Submit(b.Context(), form, "", map[string]string{target.Login.UserField: u.Name, target.Login.PassField: u.Password}); err != nil {
			b.Fatal(err)
		}
		c, ok := browser.Cookie(m.At(target.Pages[0].Path), target.Carrier.Name)
		if !ok {
			b.Fatal("no token after log-in")
		}
		cookies = append(cookies, c.Name+"="+c.Value)
		browser.Close()
	}
	return cookies
}

// peer runs a program and returns the CPU time that it took and its output.
func peer(b *testing.B, name string, args ...string) (time.Duration, string) {
	b.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		b.Skipf("%s is not installed", name)
	}
	c := exec.CommandContext(b.Context(), path, args...)
	out, err := c.CombinedOutput()
	if err != nil {
		b.Fatalf("%s: %v\n%s", name, err, out)
	}
	return c.ProcessState.UserTime() + c.ProcessState.SystemTime(), string(out)
}

// field returns the number after a word of the text.
func field(b *testing.B, text, word string) float64 {
	b.Helper()
	_, after, ok := strings.Cut(text, word)
	if fields := strings.Fields(after); ok && len(fields) > 0 {
		if n, err := strconv.ParseFloat(fields[0], 64); err == nil {
			return n
		}
	}
	b.Fatalf("no number after %q in:\n%s", word, text)
	return 0
}

// BenchmarkPeers asks for pages with rotating tokens, by every client there is,
// one after the other, as fast as the farm goes over so many connections: CPU
// of the client for each page. The peers ask the first member only, follow no
// hop and judge no page. wrk is given a pool of tokens in Lua, k6 one for each
// of its users.
func BenchmarkPeers(b *testing.B) {
	target := farmApart(b, 10_000)
	m, page := target.Members[0], target.Pages[0]
	u, err := url.Parse(m.At(page.Path))
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	pool := filepath.Join(dir, "pool.lua")
	if err := os.WriteFile(pool, []byte(luaPool), 0o600); err != nil {
		b.Fatal(err)
	}
	achieved := float64(benchRate)
	b.Run("wrk", func(b *testing.B) {
		tokens := filepath.Join(dir, "tokens")
		if err := os.WriteFile(tokens, []byte(strings.Join(signedIn(b, target), "\n")+"\n"), 0o600); err != nil {
			b.Fatal(err)
		}
		spent, out := peer(b, "wrk", "-t1", "-c"+strconv.Itoa(peerConnections), "-d"+strconv.Itoa(b.N)+"s", "-H", "Host: "+u.Host, "-s", pool,
			"http://127.0.0.1:"+u.Port()+u.RequestURI(), "--", tokens)
		n, bad := field(b, out, "pages"), field(b, out, "refused")
		if bad > 0 {
			b.Fatalf("wrk was refused %v of %v pages\n%s", bad, n, out)
		}
		achieved = n / float64(b.N)
		b.ReportMetric(float64(spent.Microseconds())/n, "cpu-µs/request")
		b.ReportMetric(achieved, "requests/s")
	})
	b.Run("k6", func(b *testing.B) {
		tokens := filepath.Join(dir, "tokens.json")
		list, err := json.Marshal(signedIn(b, target))
		if err != nil {
			b.Fatal(err)
		}
		script := filepath.Join(dir, "pool.js")
		if err := errors.Join(os.WriteFile(tokens, list, 0o600), os.WriteFile(script, []byte(k6Pool), 0o600)); err != nil {
			b.Fatal(err)
		}
		spent, out := peer(b, "k6", "run", "--quiet", "--no-usage-report", "--vus", strconv.Itoa(peerConnections), "--duration", strconv.Itoa(b.N)+"s",
			"-e", "TOKENS="+tokens, "-e", "PAGE=http://127.0.0.1:"+u.Port()+u.RequestURI(), "-e", "HOST="+u.Host, script)
		n, bad := field(b, out, "pages"), field(b, out, "refused")
		if bad > 0 {
			b.Fatalf("k6 was refused %v of %v pages\n%s", bad, n, out)
		}
		b.ReportMetric(float64(spent.Microseconds())/n, "cpu-µs/request")
		b.ReportMetric(n/float64(b.N), "requests/s")
	})
	for _, engine := range engines() {
		b.Run(engine.String(), func(b *testing.B) {
			r := run(b, loadtest.Options{Target: target, Engine: engine, Browsers: peerConnections, MaxWaiting: peerSessions, Pace: rate(b, 1.3*achieved), WarmUp: 300 * time.Millisecond,
				Duration: time.Duration(b.N) * time.Second, Mix: loadtest.Mix{loadtest.View: 1}, Probe: -1, Seed: 1})
			if r.Truth.Verdict != farmspec.Pass {
				b.Fatal(r.Truth.Reason)
			}
			b.ReportMetric(float64(r.Traffic.LoadCPU.Microseconds())/float64(r.Traffic.LoadRequests), "cpu-µs/request")
			b.ReportMetric(r.Arrivals.AchievedRate, "requests/s")
		})
	}
}

const k6Pool = `
import http from 'k6/http';
import { Counter } from 'k6/metrics';
const tokens = JSON.parse(open(__ENV.TOKENS)), pages = new Counter('pages'), refused = new Counter('refused');
let token;
export const options = { noCookiesReset: true, maxRedirects: 0 };
export default function () {
  if (!token) token = tokens[__VU - 1];
  const r = http.get(__ENV.PAGE, { jar: null, headers: { Host: __ENV.HOST, Cookie: token } });
  pages.add(1);
  const set = r.headers['Set-Cookie'];
  if (r.status === 200 && set) token = set.split(';')[0]; else refused.add(1);
}
export function handleSummary(data) {
  const count = (m) => data.metrics[m] ? data.metrics[m].values.count : 0;
  return { stdout: "pages " + count('pages') + " refused " + count('refused') + "\n" };
}
`

var luaPool = fmt.Sprintf(`
local pool, n, pages, refused = {}, 0, 0, 0
function init(args)
  for line in io.lines(args[1]) do n = n + 1; pool[n] = line end
end
local fields = {%s}
function request()
  fields["Host"], fields["Cookie"] = wrk.headers["Host"], pool[n]
  pool[n] = nil
  n = n - 1
  return wrk.format("GET", nil, fields)
end
function response(status, headers, body)
  local set = headers["Set-Cookie"]
  if status == 200 and set then
    n = n + 1
    pool[n] = string.match(set, "^[^;]+")
  else
    refused = refused + 1
  end
  threads_refused = refused
end
local threads = {}
function setup(thread) table.insert(threads, thread) end
function done(summary, latency, requests)
  local bad = 0
  for _, t in ipairs(threads) do bad = bad + (t:get("threads_refused") or 0) end
  io.write(string.format("pages %%d refused %%d\n", summary.requests, bad))
end
`, `["User-Agent"]="Mozilla/5.0 (compatible; farmspec)", ["Accept"]="text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", ["Accept-Language"]="en", ["Sec-Fetch-Dest"]="document", ["Sec-Fetch-Mode"]="navigate", ["Sec-Fetch-Site"]="none", ["Sec-Fetch-User"]="?1", ["Upgrade-Insecure-Requests"]="1"`)
