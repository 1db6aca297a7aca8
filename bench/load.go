package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/loadtest"
	"github.com/farmspec/farmspec/simfarm"
	"github.com/farmspec/farmspec/simfarm/speed"
)

// The names of the load clients' cases.
const (
	wrkName    = "Load/client=wrk"
	fastName   = "Load/client=fast"
	vegetaName = "Load/client=vegeta"
)

const (
	// loadSessions is how many sessions each client has, loadConnections over
	// how many connections at once wrk asks.
	loadSessions    = 64
	loadConnections = 16
	// loadRate is at how many pages a second the engines ask where there is no
	// wrk, which asks as fast as it can; else they ask as fast as wrk did.
	loadRate = 800
	// loadTime is the shortest round: connections and pools have to settle.
	loadTime = 3 * time.Second
	// loadUsers are enough for all rounds.
	loadUsers = 5000
)

// clients are load generators that ask a farm in another process for a page
// of one member, with a token that rotates at each request. What counts is
// their own CPU for a page. The engines also plan each arrival, time it, judge
// the page and keep the history of tokens; wrk counts.
func (h *host) clients() []speed.Case {
	return []speed.Case{
		{Name: wrkName, Open: h.wrk},
		{Name: fastName, Open: h.engine(loadtest.Fast{})},
		{Name: vegetaName, Open: h.engine(loadtest.Vegeta{})},
	}
}

// farmVariable asks this program to be a farm instead, with so many users.
const farmVariable = "FARMSPEC_BENCH_FARM"

// described is a target without its hooks.
type described struct {
	farmspec.Target
	Hooks struct{}
}

// serveFarm describes a farm on the standard output and runs it until the
// standard input ends.
func serveFarm(users int) error {
	o := simfarm.Options{Unobserved: true}
	for i := range users {
		o.Users = append(o.Users, loadUser(i))
	}
	farm, err := simfarm.Open(context.Background(), o)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(described{Target: *farm.Target()}); err != nil {
		return errors.Join(err, farm.Close())
	}
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	return farm.Close()
}

func loadUser(i int) farmspec.User {
	return farmspec.User{Name: fmt.Sprintf("user-%d", i), Password: fmt.Sprintf("password of user %d", i)}
}

// accounts hands the farm's users out.
type accounts struct{ next atomic.Int64 }

func (a *accounts) New(context.Context, string) (farmspec.User, error) {
	n := int(a.next.Add(1)) - 1
	if n >= loadUsers {
		return farmspec.User{}, errors.New("all users are taken; make fewer rounds")
	}
	return loadUser(n), nil
}

// farm returns the farm in the other process.
func (h *host) farm() (*farmspec.Target, error) {
	if h.target != nil {
		return h.target, nil
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), farmVariable+"="+strconv.Itoa(loadUsers))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe() // held open until Close
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	h.started["farm"] = &server{cmd: cmd, input: in}
	var d described
	if err := json.NewDecoder(out).Decode(&d); err != nil {
		return nil, fmt.Errorf("read what the farm says of itself: %w", err)
	}
	d.Target.Hooks.Accounts = new(accounts)
	h.target = &d.Target
	return h.target, nil
}

// engine measures an engine of ours at a steady rate.
func (h *host) engine(e loadtest.Engine) func(context.Context) (speed.Work, error) {
	return func(context.Context) (speed.Work, error) {
		target, err := h.farm()
		return speed.Work{Measure: func(ctx context.Context, d time.Duration) (speed.Round, error) {
			rate := cmp.Or(h.wrkRate, loadRate)
			pace, err := loadtest.Constant(rate)
			if err != nil {
				return speed.Round{}, err
			}
			var s span
			r, err := loadtest.Run(ctx, loadtest.Options{Target: target, Engine: e, Browsers: loadSessions, Pace: pace, WarmUp: 300 * time.Millisecond,
				Duration: max(d, loadTime), Mix: loadtest.Mix{loadtest.View: 1}, Probe: -1, Seed: 1, Progress: &s})
			if err != nil {
				return speed.Round{}, err
			}
			if r.Truth.Verdict != farmspec.Pass {
				return speed.Round{}, fmt.Errorf("the load found: %s", r.Truth.Reason)
			}
			// From the first glance on, which is when the browsers are signed in.
			pages := float64(r.Arrivals.Ended+r.Arrivals.WarmUp) - s.at.Seconds()*rate
			return speed.Round{N: int(pages), Wall: 1e9 / r.Arrivals.AchievedRate, CPU: float64(s.to-s.from) / pages, Bytes: -1, Allocs: -1}, nil
		}}, err
	}
}

// span is what a run spent between its first glance and the check of its history.
type span struct{ from, to, at time.Duration }

// Preparing, Loading and Checking implement farmspec.LoadProgress.
func (*span) Preparing(int, int) {}

// Loading notes when the browsers were ready.
func (s *span) Loading(n farmspec.LoadNow) {
	if s.from == 0 {
		s.from, s.at = speed.ProcessCPU(), n.At
	}
}

// Checking notes the end.
func (s *span) Checking(int) { s.to = speed.ProcessCPU() }

// wrk has a pool of tokens: a request takes one, its answer brings the next.
func (h *host) wrk(ctx context.Context) (speed.Work, error) {
	program, err := find("wrk")
	if err != nil {
		return speed.Work{}, err
	}
	target, err := h.farm()
	if err != nil {
		return speed.Work{}, err
	}
	script, tokens := filepath.Join(h.dir, "pool.lua"), filepath.Join(h.dir, "tokens")
	cookies, err := signedIn(ctx, target)
	if err != nil {
		return speed.Work{}, err
	}
	if err := errors.Join(os.WriteFile(script, []byte(luaPool), 0o600), os.WriteFile(tokens, []byte(strings.Join(cookies, "\n")+"\n"), 0o600)); err != nil {
		return speed.Work{}, err
	}
	u, err := url.Parse(target.Members[0].At(target.Pages[0].Path))
	return speed.Work{Measure: func(ctx context.Context, d time.Duration) (speed.Round, error) {
		cmd := exec.CommandContext(ctx, program, "-t1", "-c"+strconv.Itoa(loadConnections), fmt.Sprintf("-d%.0fs", max(d, loadTime).Seconds()),
			"-H", "Host: "+u.Host, "-s", script, "http://127.0.0.1:"+u.Port()+u.RequestURI(), "--", tokens)
		said, err := output(cmd)
		if err != nil {
			return speed.Round{}, err
		}
		_, last, _ := strings.Cut(said, "counted: ")
		var pages, refused, micros float64
		if _, err := fmt.Sscanf(last, "%f pages, %f refused, %f us", &pages, &refused, &micros); err != nil || pages == 0 || refused > 0 {
			return speed.Round{}, fmt.Errorf("run wrk: want pages and no refusals, got %q", said)
		}
		h.wrkRate = 1e6 * pages / micros
		spent := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		return speed.Round{N: int(pages), Wall: 1e3 * micros / pages, CPU: float64(spent) / pages, Bytes: -1, Allocs: -1}, nil
	}}, err
}

// signedIn logs users in and returns the Cookie field of each.
func signedIn(ctx context.Context, target *farmspec.Target) ([]string, error) {
	m := target.Members[0]
	var cookies []string
	for range loadSessions {
		u, err := target.Hooks.Accounts.New(ctx, "wrk")
		if err != nil {
			return nil, err
		}
		browser := farmspec.NewBrowser(farmspec.BrowserOptions{Target: target})
		defer browser.Close()
		form, err := browser.Open(ctx, m.At(target.Login.Path))
		if err != nil {
			return nil, err
		}
		fields := map[string]string{target.Login.UserField: u.Name, target.Login.PassField: u.Password}
		if _, err := browser.Submit(ctx, form, "", fields); err != nil {
			return nil, err
		}
		c, ok := browser.Cookie(m.At(target.Pages[0].Path), target.Carrier.Name)
		if !ok {
			return nil, fmt.Errorf("sign %s in: no token came", u.Name)
		}
		cookies = append(cookies, c.Name+"="+c.Value)
	}
	return cookies, nil
}

const luaPool = `
local pool, n = {}, 0
refused = 0
local fields = {["Accept"] = "text/html", ["Sec-Fetch-Dest"] = "document", ["Sec-Fetch-Mode"] = "navigate"}
function init(args)
  for line in io.lines(args[1]) do n = n + 1; pool[n] = line end
end
function request()
  fields["Host"], fields["Cookie"] = wrk.headers["Host"], pool[n]
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
end
local threads = {}
function setup(thread) table.insert(threads, thread) end
function done(summary)
  local bad = 0
  for _, t in ipairs(threads) do bad = bad + t:get("refused") end
  io.write(string.format("counted: %d pages, %d refused, %d us\n", summary.requests, bad, summary.duration))
end
`
