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

// The names of the load clients' cases. A page of the server where the session
// is takes one request, a page of another one two: a redirect leads there.
const (
	wrkName       = "Load/client=wrk"
	fastName      = "Load/client=fast"
	vegetaName    = "Load/client=vegeta"
	k6HopName     = "Load/client=k6/hop"
	fastHopName   = "Load/client=fast/hop"
	vegetaHopName = "Load/client=vegeta/hop"
)

const (
	// loadSessions is how many sessions each client has, loadConnections over
	// how many connections at once wrk asks.
	loadSessions    = 64
	loadConnections = 16
	// loadRate is how many pages a second the engines and k6 are to ask for.
	// The engines ask as fast as their peer did, where it is installed: wrk asks
	// as fast as it can, and k6 may not get as far.
	loadRate = 800
	// loadTime is the shortest round: connections and pools have to settle.
	loadTime = 3 * time.Second
	// loadUsers are enough for all rounds.
	loadUsers = 5000
)

// clients are load generators that ask a farm in another process for pages,
// with a token that rotates at each. What counts is their own CPU for a page,
// while they load. The engines also plan each arrival, time it, judge the page
// and keep the history of tokens; k6 does all but the last; wrk counts.
func (h *host) clients() []speed.Case {
	view, hop := loadtest.Mix{loadtest.View: 1}, loadtest.Mix{loadtest.Hop: 1}
	asWrk, asK6 := func() float64 { return cmp.Or(h.wrkRate, loadRate) }, func() float64 { return cmp.Or(h.k6Rate, loadRate) }
	return []speed.Case{
		{Name: wrkName, Open: h.wrk},
		{Name: fastName, Open: h.engine(loadtest.Fast{}, view, asWrk)},
		{Name: vegetaName, Open: h.engine(loadtest.Vegeta{}, view, asWrk)},
		{Name: k6HopName, Open: h.k6},
		{Name: fastHopName, Open: h.engine(loadtest.Fast{}, hop, asK6)},
		{Name: vegetaHopName, Open: h.engine(loadtest.Vegeta{}, hop, asK6)},
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
func (h *host) engine(e loadtest.Engine, mix loadtest.Mix, rate func() float64) func(context.Context) (speed.Work, error) {
	return func(context.Context) (speed.Work, error) {
		target, err := h.farm()
		return speed.Work{Measure: func(ctx context.Context, d time.Duration) (speed.Round, error) {
			pace, err := loadtest.Constant(rate())
			if err != nil {
				return speed.Round{}, err
			}
			r, err := loadtest.Run(ctx, loadtest.Options{Target: target, Engine: e, Browsers: loadSessions, Pace: pace,
				Duration: max(d, loadTime), Mix: mix, Probe: -1, Seed: 1})
			if err != nil {
				return speed.Round{}, err
			}
			if r.Truth.Verdict != farmspec.Pass {
				return speed.Round{}, fmt.Errorf("the load found: %s", r.Truth.Reason)
			}
			pages := r.Arrivals.Ended
			return speed.Round{N: int(pages), Wall: 1e9 / r.Arrivals.AchievedRate, CPU: float64(r.Traffic.LoadCPU) / float64(pages), Bytes: -1, Allocs: -1}, nil
		}}, err
	}
}

// wrk has a pool of tokens: a request takes one, its answer brings the next.
// It can follow no redirect, so it asks one server for a page of its own.
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
	sessions, err := signedIn(ctx, target)
	if err != nil {
		return speed.Work{}, err
	}
	var pool strings.Builder
	for _, s := range sessions {
		fmt.Fprintf(&pool, "%s=%s\n", target.Carrier.Name, s.Token)
	}
	if err := errors.Join(os.WriteFile(script, []byte(luaPool), 0o600), os.WriteFile(tokens, []byte(pool.String()), 0o600)); err != nil {
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

// session is one that another load tool is to use: its token, and what a page
// shows of the user.
type session struct {
	Token string `json:"token"`
	Echo  string `json:"echo"`
}

// signedIn logs users in at the first member.
func signedIn(ctx context.Context, target *farmspec.Target) ([]session, error) {
	m := target.Members[0]
	var sessions []session
	for range loadSessions {
		u, err := target.Hooks.Accounts.New(ctx, "load")
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
		sessions = append(sessions, session{c.Value, strings.ReplaceAll(target.UserEcho, "{user}", u.Name)})
	}
	return sessions, nil
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
