package loadtest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/loadtest"
	"github.com/farmspec/farmspec/simfarm"
)

// The farm of a benchmark is another process, so that what this one spends is
// the client's.

const farmForBench = "FARMSPEC_BENCH_FARM"

// described is a target without its hooks.
type described struct {
	farmspec.Target
	Hooks struct{}
}

func TestMain(m *testing.M) {
	if users, err := strconv.Atoi(os.Getenv(farmForBench)); err == nil {
		os.Exit(serveForBench(users))
	}
	os.Exit(m.Run())
}

// serveForBench runs a farm until its input ends.
func serveForBench(users int) int {
	o := simfarm.Options{Unobserved: true}
	for i := range users {
		o.Users = append(o.Users, benchUser(i))
	}
	farm, err := simfarm.Open(context.Background(), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_ = json.NewEncoder(os.Stdout).Encode(described{Target: *farm.Target()})
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	_ = farm.Close()
	return 0
}

func benchUser(i int) farmspec.User {
	return farmspec.User{Name: fmt.Sprintf("bench-%dx", i), Password: fmt.Sprintf("password of user %d", i)}
}

// benchAccounts hands the farm's users out.
type benchAccounts struct{ next atomic.Int64 }

func (a *benchAccounts) New(context.Context, string) (farmspec.User, error) {
	return benchUser(int(a.next.Add(1) - 1)), nil
}

func farmApart(b *testing.B, users int) *farmspec.Target {
	b.Helper()
	c := exec.CommandContext(b.Context(), os.Args[0])
	c.Env = append(os.Environ(), farmForBench+"="+strconv.Itoa(users))
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = c.Wait()
	})
	var d described
	if err := json.NewDecoder(out).Decode(&d); err != nil {
		b.Fatal(err)
	}
	d.Target.Hooks.Accounts = new(benchAccounts)
	return &d.Target
}

func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchRate is what two slow cores can do beside the farm.
const benchRate = 800

// CPU of the client for each HTTP request while it loads. Plain vegeta sends
// one fixed cookie to a page that needs no session; the views are of pages that
// rotate the token, on one server and over a hop, and each is judged.
func BenchmarkClient(b *testing.B) {
	target := farmApart(b, 200)
	for _, engine := range []loadtest.Engine{loadtest.Vegeta{}, loadtest.Fast{}} {
		for _, action := range []loadtest.Action{loadtest.View, loadtest.Hop} {
			b.Run(engine.String()+"/"+action.String(), func(b *testing.B) {
				target.Hooks.Accounts.(*benchAccounts).next.Store(0)
				var mix loadtest.Mix
				mix[action] = 1
				r := run(b, loadtest.Options{Target: target, Engine: engine, Browsers: 16, Pace: rate(b, benchRate), WarmUp: 300 * time.Millisecond,
					Duration: time.Duration(b.N) * time.Second / benchRate, Mix: mix, Probe: -1, Seed: 1})
				b.ReportMetric(float64(r.Traffic.LoadCPU.Microseconds())/float64(r.Traffic.LoadRequests), "cpu-µs/request")
				b.ReportMetric(float64(r.Latency.P50.Microseconds()), "p50-µs")
			})
		}
	}
	b.Run("plain-vegeta", func(b *testing.B) {
		transport := target.Transport()
		transport.MaxIdleConnsPerHost = 16
		attacker := vegeta.NewAttacker(vegeta.Client(&http.Client{Transport: transport}))
		address := target.Members[0].At(target.Open.Path)
		page := []byte(target.Open.Marker)
		before := cpu()
		n := 0
		for r := range attacker.Attack(vegeta.NewStaticTargeter(vegeta.Target{Method: http.MethodGet, URL: address,
			Header: http.Header{"Cookie": {target.Carrier.Name + "=" + strings.Repeat("x", 72)}}}), vegeta.Rate{Freq: benchRate, Per: time.Second}, time.Duration(b.N)*time.Second/benchRate, "") {
			if n++; r.Code != 200 || !bytes.Contains(r.Body, page) {
				b.Fatalf("code %d, %s", r.Code, r.Error)
			}
		}
		b.ReportMetric(float64((cpu()-before).Microseconds())/float64(n), "cpu-µs/request")
	})
}

// What 10,000 browsers, each with a session, take of this process's memory.
func BenchmarkSessions(b *testing.B) {
	const sessions = 10_000
	target := farmApart(b, sessions+200)
	for _, engine := range engines() {
		b.Run(engine.String(), func(b *testing.B) {
			debug.FreeOSMemory()
			before, resident := heap(), rss()
			var after, residentAfter float64
			o := loadtest.Options{Target: target, Engine: engine, Browsers: sessions, Pace: rate(b, 500), Duration: time.Second, Mix: loadtest.Mix{loadtest.View: 1}, Probe: -1, Seed: 1}
			o.Progress = watching(func(farmspec.LoadNow) {
				residentAfter = max(residentAfter, rss())
				if after == 0 {
					runtime.GC()
					after = heap()
				}
			})
			for range b.N {
				target.Hooks.Accounts.(*benchAccounts).next.Store(0)
				if r := run(b, o); r.Truth.Verdict != farmspec.Pass {
					b.Fatal(r.Truth.Reason)
				}
			}
			b.ReportMetric((after-before)/1e6, "heap-MB")
			b.ReportMetric((residentAfter-resident)/1e6, "rss-growth-MB")
			b.ReportMetric(residentAfter/1e6, "rss-MB")
		})
	}
}

func heap() float64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapInuse + m.StackInuse)
}

// rss is what the process has in memory, in bytes; zero where the system does not say.
func rss() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	pages, err := strconv.ParseFloat(fields[1], 64)
	if err != nil {
		return 0
	}
	return pages * float64(os.Getpagesize())
}
