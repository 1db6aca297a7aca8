package reports

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/farmspec/farmspec"
)

// The fixture is a run of a reference farm in three profiles, with every
// verdict in it, built from a few small plays.

var fixtureTargets = []farmspec.TargetInfo{
	{
		Name: "reference/sealed+strict+shared-domain", Product: "farmspec reference farm", Version: "0.2.0", Artefact: "sha256:5f1c0e9a",
		Handoff: farmspec.Sealed, Rotation: farmspec.Strict, Topology: farmspec.SharedDomain, Replay: farmspec.Reject,
		Members: []string{"server-1", "server-2", "server-3"},
		Hooks:   []string{"admin", "clock", "database", "holds", "keys", "processes", "service", "trace"},
		Levels:  []farmspec.Level{farmspec.Black, farmspec.Grey, farmspec.White},
	},
	{
		Name: "reference/claimed+strict+split-domain", Product: "farmspec reference farm", Version: "0.2.0", Artefact: "sha256:5f1c0e9a",
		Handoff: farmspec.Claimed, Rotation: farmspec.Strict, Topology: farmspec.SplitDomain, Replay: farmspec.Reject,
		Members: []string{"server-1", "server-2"}, Hooks: []string{"service", "trace"},
		Levels: []farmspec.Level{farmspec.Black, farmspec.Grey},
	},
	{
		Name: "reference/sealed+coalesce+single-host", Product: "farmspec reference farm", Version: "0.2.0",
		Handoff: farmspec.Sealed, Rotation: farmspec.Coalesce, Topology: farmspec.SingleHost, Replay: farmspec.RevokeFamily,
		Members: []string{"server-1", "server-2"},
		Levels:  []farmspec.Level{farmspec.Black},
	},
}

// fixtureScenarios come in the order of features; each runs on all targets
// with the verdicts given, in the targets' order, the last repeating.
var fixtureScenarios = []struct {
	id, name, feature string
	requirements      []string
	level             farmspec.Level
	play              func(*play)
	verdicts          []farmspec.Verdict
	reason            string
}{
	{"handoff.page-of-another-server", "A page that another server holds is one click away", "Hand-off", []string{"WF-1.1", "WF-1.4", "WF-2.3"}, farmspec.Black, hopPlay, []farmspec.Verdict{farmspec.Pass}, ""},
	{"handoff.forged-token-refused", "A token that the farm never sealed is refused", "Hand-off", []string{"WF-1.3", "WF-1.6", "WF-1.7"}, farmspec.Black, replayPlay, []farmspec.Verdict{farmspec.Pass, farmspec.Pass, farmspec.Inconclusive}, "The witness was refused too: with a good token the same request got status 503, so the refusal proves nothing."},
	{"handoff.token-in-url", "The hand-off travels in the address of the redirect", "Hand-off", []string{"WF-1.5", "WF-9.1"}, farmspec.Black, hopPlay, []farmspec.Verdict{farmspec.Unsupported, farmspec.Pass, farmspec.Unsupported}, "The target declares hand-off sealed; this scenario reads the plain token of hand-off claimed."},
	{"rotate.new-token-each-click", "Each click brings a new token", "Rotation", []string{"WF-2.1", "WF-2.4", "WF-3.2"}, farmspec.Black, hopPlay, []farmspec.Verdict{farmspec.Pass, farmspec.Pass, farmspec.Warn}, "The token changed and its length did not stay the same: 72 and then 74 characters."},
	{"rotate.old-token-refused", "A token that has been replaced is refused", "Rotation", []string{"WF-4.1", "WF-4.2"}, farmspec.Black, replayPlay, []farmspec.Verdict{farmspec.Pass, farmspec.Fail, farmspec.Pass}, "Ada's earlier token was accepted on server-2: expected refused, got accepted, 42 ms after its successor had been used."},
	{"rotate.one-winner", "Of many clicks with one token, one wins", "Rotation", []string{"WF-4.3"}, farmspec.Black, racePlay, []farmspec.Verdict{farmspec.Pass, farmspec.Pass, farmspec.Flaky}, "2 of 20 trials had two winners; in 18 exactly one presenter was accepted."},
	{"rotate.database-row", "The database holds one token of a session", "Rotation", []string{"WF-4.2", "WF-11.1"}, farmspec.White, hopPlay, []farmspec.Verdict{farmspec.Pass, farmspec.Unobservable}, "The hook \"database\" is missing: who replaces what shows only in the common session database."},
	{"time.idle-limit", "A session that was idle too long has ended", "Time", []string{"WF-7.1", "WF-8.1", "AJ-2.8"}, farmspec.Black, replayPlay, []farmspec.Verdict{farmspec.Pass, farmspec.NotOffered, farmspec.Disabled}, "No time-out was found within the 10 minutes that --max-wait allows."},
	{"service.is-asked", "The session service is asked before the page is shown", "Service", []string{"WF-10.1", "SY-13.2"}, farmspec.Grey, hopPlay, []farmspec.Verdict{farmspec.Pass, farmspec.Error, farmspec.Unobservable}, "The session service could not be stopped: connection refused by 127.0.0.1:7071."},
	{"logout.ends-everything", "Log-out ends every HTTP session", "Log-out", []string{"AJ-3.5", "AJ-6.1"}, farmspec.Black, replayPlay, []farmspec.Verdict{farmspec.Pass}, ""},
	{"logout.long-walk", "A long walk through the farm keeps its session", "Log-out", []string{"AJ-0.1", "AJ-1.2"}, farmspec.Black, walkPlay, []farmspec.Verdict{farmspec.Pass, farmspec.Pass, farmspec.NotRun}, "The run was interrupted before this case began."},
}

// fixtureCatalogue is a small ledger with titles of its own, so that the
// goldens do not depend on the wording of the real one.
func fixtureCatalogue() catalogue {
	var c catalogue
	add := func(section, profile, source string, claims []int, ids ...string) {
		for _, id := range ids {
			q := farmspec.Requirement{
				ID: id, Title: "What " + id + " asks of a farm", Section: section, Source: source, Strength: "MUST", Profile: profile, Claims: claims,
				Levels: map[farmspec.Level]string{farmspec.Black: "the effect on the wire", farmspec.White: "the row"},
			}
			if profile == "hardened" {
				q.Planned = "a scenario of the hardened profile"
			}
			if strings.HasPrefix(id, "SY-") {
				q.Levels = map[farmspec.Level]string{farmspec.Grey: "the trace shows who did it"}
				q.Unobservable = map[farmspec.Level]string{farmspec.Black: "who did it does not show on the wire"}
			}
			c.requirements = append(c.requirements, q)
		}
	}
	for n, ids := range [][]string{
		{"WF-1.1", "WF-1.3", "WF-1.4", "WF-1.5", "WF-1.6", "WF-1.7"}, {"WF-2.1", "WF-2.3", "WF-2.4"}, {"WF-3.2"}, {"WF-4.1", "WF-4.2", "WF-4.3"},
		{"WF-5.1"}, {"WF-6.1"}, {"WF-7.1"}, {"WF-8.1"}, {"WF-9.1"}, {"WF-10.1"}, {"WF-11.1"}, {"WF-12.1"},
	} {
		var claims []int
		for _, t := range twins(n + 1) {
			if t > 0 {
				claims = append(claims, t)
			}
		}
		add("web-farm", "claim", fmt.Sprintf("claim %d", n+1), claims, ids...)
	}
	add("web-farm", "claim", "claim 13", []int{13}, "SY-13.2")
	for _, g := range []struct {
		title string
		ids   []string
	}{
		{"Use", []string{"AJ-0.1", "AJ-0.2", "AJ-0.3"}}, {"Stateful applications", []string{"AJ-1.1", "AJ-1.2", "AJ-1.3"}},
		{"HTTP sessions", []string{"AJ-2.1", "AJ-2.2", "AJ-2.3", "AJ-2.4", "AJ-2.5", "AJ-2.6", "AJ-2.7", "AJ-2.8"}},
		{"Security sessions", []string{"AJ-3.1", "AJ-3.2", "AJ-3.3", "AJ-3.4", "AJ-3.5"}},
		{"Relations", []string{"AJ-4.1", "AJ-4.2", "AJ-4.3", "AJ-4.4", "AJ-4.5"}}, {"Workflow", []string{"AJ-5.1", "AJ-5.2", "AJ-5.3", "AJ-5.4"}},
		{"Termination", []string{"AJ-6.1", "AJ-6.2", "AJ-6.3", "AJ-6.4", "AJ-6.5", "AJ-6.6"}},
	} {
		add("as-java", "claim", g.title+", 1", nil, g.ids...)
	}
	add("asvs", "hardened", "v5.0.0", nil, "ASVS-7.2.1", "ASVS-7.4.1", "ASVS-14.2.1")
	for n := 1; n <= 34; n++ {
		form := farmspec.MethodForm
		switch {
		case n >= 23:
			form = farmspec.ProductForm
		case n >= 13:
			form = farmspec.SystemForm
		}
		claim := farmspec.Claim{Number: n, Form: form, Summary: fmt.Sprintf("what claim %d adds to the claims before it", n)}
		for _, q := range c.requirements {
			if slices.Contains(q.Claims, n) {
				claim.Requirements = append(claim.Requirements, q.ID)
			}
		}
		c.claims = append(c.claims, claim)
	}
	return c
}

// fixture builds the report; rounds repeats the scenarios under further IDs,
// for a report as large as one likes.
func fixture(rounds int) *farmspec.Report {
	c := fixtureCatalogue()
	r := &farmspec.Report{
		Schema: farmspec.ReportSchema,
		Tool:   farmspec.Tool{Version: "0.2.0", Commit: "3acb2b3d7c1e", Features: strings.Repeat("9b1d", 16)},
		Run: farmspec.Run{
			Started: time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC), Took: 2340 * time.Millisecond, Seed: 16045690984503098046,
			Command: "farmspec run --out report --seed 16045690984503098046", Why: "Interrupted after 32 of 33 cases.",
		},
		Left:            []string{"account.disabled on reference/sealed+strict+shared-domain: enable account judge-007 again: connection refused by 127.0.0.1:7071"},
		Targets:         slices.Clone(fixtureTargets),
		ClaimConformant: farmspec.Fail, Hardened: farmspec.Planned, Verdict: farmspec.Fail, Exit: farmspec.ExitNonconformant,
	}
	by := map[string][]farmspec.Result{}
	for round := range rounds {
		for i, s := range fixtureScenarios {
			for n, target := range fixtureTargets {
				id := s.id
				if round > 0 {
					id += fmt.Sprintf("-%d", round+1)
				}
				x := farmspec.Result{
					CaseID: farmspec.CaseID{Scenario: id, Target: target.Name}, Name: s.name, Feature: s.feature,
					File: "features/" + strings.ToLower(s.feature) + ".feature", Line: 8 + 11*i, Requirements: s.requirements, Level: s.level,
					Faults: []string{"F12"}, Tags: []string{"@level:" + string(s.level)},
					Verdict: s.verdicts[min(n, len(s.verdicts)-1)],
					Repeat:  fmt.Sprintf("farmspec run %s --run %s --seed 16045690984503098046", target.Name, id),
				}
				if x.Verdict != farmspec.Pass {
					x.Reason = s.reason
				}
				if x.Verdict == farmspec.Disabled {
					x.Reason = "Excluded by --tags."
				}
				p := &play{r: &x, members: target.Members, inside: slices.Contains(target.Levels, farmspec.Grey), handoff: target.Handoff}
				if x.Verdict.Ran() {
					s.play(p)
				} else {
					p.skipped("Ada is signed in", "Ada opens the page of server 2", "she sees her page")
				}
				x.Took = p.now
				r.Results = append(r.Results, x)
				for _, q := range s.requirements {
					by[q] = append(by[q], x)
				}
			}
		}
	}
	slices.SortStableFunc(r.Results, func(a, b farmspec.Result) int {
		return strings.Compare(a.Scenario+"\x00"+a.Target, b.Scenario+"\x00"+b.Target)
	})
	for _, x := range r.Results {
		r.Plan = append(r.Plan, x.CaseID)
	}
	verdict := map[string]farmspec.Verdict{}
	for _, q := range c.requirements {
		e := farmspec.RequirementResult{ID: q.ID, Verdict: farmspec.Planned, Reason: "No scenario tests it yet."}
		if cases := by[q.ID]; len(cases) > 0 {
			e.Reason, e.Levels = "", map[farmspec.Level]farmspec.Verdict{}
			var all []farmspec.Verdict
			for _, x := range cases {
				all = append(all, x.Verdict)
				e.Cases = append(e.Cases, x.CaseID)
				e.Levels[x.Level] = farmspec.Worst(append([]farmspec.Verdict{x.Verdict}, slices.Collect(func(yield func(farmspec.Verdict) bool) {
					if v, ok := e.Levels[x.Level]; ok {
						yield(v)
					}
				})...)...)
			}
			e.Verdict = farmspec.Worst(all...)
			if e.Verdict != farmspec.Pass {
				e.Reason = "Decided by the worst of its cases."
			}
		}
		verdict[q.ID] = e.Verdict
		r.Requirements = append(r.Requirements, e)
	}
	for _, n := range c.claims {
		var own []farmspec.Verdict
		for _, id := range n.Requirements {
			own = append(own, verdict[id])
		}
		x := farmspec.ClaimResult{
			Claim: n.Number, Form: n.Form, Own: farmspec.Worst(own...), Closure: []int{n.Number}, Requirements: n.Requirements,
			Levels: map[farmspec.Level]farmspec.Verdict{farmspec.Black: farmspec.Worst(own...), farmspec.Grey: farmspec.Pass},
		}
		if root := map[string]int{farmspec.MethodForm: 1, farmspec.SystemForm: 13, farmspec.ProductForm: 23}[n.Form]; root != n.Number {
			x.Closure = []int{root, n.Number}
		}
		x.Verdict = x.Own
		if x.Own == farmspec.Fail {
			x.Reason = "WF-4.1 failed on reference/claimed+strict+split-domain."
		}
		r.Claims = append(r.Claims, x)
	}
	return r
}

// play writes down a scenario as a run would have recorded it.
type play struct {
	r       *farmspec.Result
	members []string
	inside  bool
	handoff farmspec.Handoff
	now     time.Duration
	token   int
}

func (p *play) step(keyword, text string) {
	p.r.Steps = append(p.r.Steps, farmspec.Step{Keyword: keyword, Text: text, Status: "passed", Took: 3 * time.Millisecond})
}

func (p *play) skipped(texts ...string) {
	for i, t := range texts {
		p.r.Steps = append(p.r.Steps, farmspec.Step{Keyword: []string{"Given", "When", "Then"}[i], Text: t, Status: "skipped"})
	}
}

func (p *play) failed(err string) {
	s := &p.r.Steps[len(p.r.Steps)-1]
	s.Status, s.Error = "failed", err
}

func (p *play) at() int { return len(p.r.Steps) - 1 }

func (p *play) check(kind farmspec.CheckKind, expected, actual string) {
	p.r.Checks = append(p.r.Checks, farmspec.Check{Kind: kind, Step: p.at(), Expected: expected, Actual: actual, OK: expected == actual, Exchange: len(p.r.Exchanges)})
}

func (p *play) say(from, to, op, detail string, ok bool) {
	p.now += 150 * time.Microsecond
	m := farmspec.MessageRecord{Offset: p.now, From: from, To: to, Op: op, Detail: detail, OK: ok}
	outer := !slices.Contains([]string{"service", "database"}, from) && !slices.Contains([]string{"service", "database"}, to) && from != to
	if outer {
		m.Exchange = len(p.r.Exchanges)
	} else if !p.inside {
		return
	}
	p.r.Messages = append(p.r.Messages, m)
}

func (p *play) exchange(browser, member, method, path string, status int, body string, headers ...farmspec.Header) {
	p.token++
	n := len(p.r.Exchanges) + 1
	p.r.Exchanges = append(p.r.Exchanges, farmspec.ExchangeRecord{
		N: n, Step: p.at(), Browser: browser, Member: member, Offset: p.now, Took: 2400 * time.Microsecond,
		Method: method, URL: "http://" + member + ".farm.test:8081" + path, Status: status,
		RequestHeader: []farmspec.Header{
			{Name: "Accept", Value: "text/html"}, {Name: "Cookie", Value: fmt.Sprintf("__Secure-farm=#k9Qz%03d", p.token)},
			{Name: "Traceparent", Value: fmt.Sprintf("00-4bf92f3577b34da6a3ce929d0e0e%04d-00f067aa0ba902b7-01", n)},
		},
		Header: append([]farmspec.Header{
			{Name: "Cache-Control", Value: "no-store"}, {Name: "Content-Type", Value: "text/html; charset=utf-8"}, {Name: "Date", Value: "Sun, 22 Nov 2026 09:30:00 GMT"},
			{Name: "Referrer-Policy", Value: "no-referrer"},
		}, headers...),
		Body: body, BodyBytes: len(body),
	})
	p.now += 2400 * time.Microsecond
}

const pageBody = `<!doctype html>
<html lang="en">
<head><title>Orders · server-2</title><meta name="viewport" content="width=device-width"></head>
<body>
<h1>Orders</h1>
<p>Signed in as <b>ada-7f3a</b>. This page is held by server-2.</p>
<p class="marker">page-of-server-2</p>
<form method="post" action="/logout"><input type="hidden" name="csrf" value="#u81PzQ"><button>Log out</button></form>
</body>
</html>
`

// hop is a click on the page of another server.
func (p *play) hop(browser, from, to string, ok bool) {
	p.exchange(browser, from, "GET", "/orders?day=today", 303, "", farmspec.Header{Name: "Location", Value: "http://" + to + ".farm.test:8082/orders?day=today&handoff=#Zq81"})
	p.say(browser, from, "GET", "/orders?day=today", true)
	p.say(from, from, farmspec.OpDecrypt, "token #k9Qz", true)
	p.say(from, browser, "303", "redirect to "+to, true)
	if !ok {
		p.exchange(browser, to, "GET", "/orders?day=today&handoff=#Zq81", 401, "<h1>Please log in</h1>")
		p.say(browser, to, "GET", "/orders with the hand-off", true)
		p.say(to, "service", farmspec.OpRenew, "token #k9Qz", true)
		p.say("service", "database", farmspec.OpLookup, "session S-31", true)
		p.say("service", "service", farmspec.OpCompare, "ID and timestamp differ", false)
		p.say(to, browser, "401", "log-in page", false)
		return
	}
	p.exchange(browser, to, "GET", "/orders?day=today&handoff=#Zq81", 200, pageBody, farmspec.Header{Name: "Set-Cookie", Value: "__Secure-farm=#m2Xa; Domain=farm.test; Path=/; Secure; HttpOnly; SameSite=Lax"})
	p.say(browser, to, "GET", "/orders with the hand-off", true)
	p.say(to, "service", farmspec.OpRenew, "token #k9Qz", true)
	p.say("service", "database", farmspec.OpLookup, "session S-31", true)
	p.say("service", "service", farmspec.OpCompare, "ID and timestamp equal", true)
	p.say("service", "service", farmspec.OpElapsed, "1.2 s of at most 30 min", true)
	p.say("service", "service", farmspec.OpGenerate, "token #m2Xa", true)
	p.say("service", "database", farmspec.OpReplace, "#k9Qz by #m2Xa", true)
	p.say(to, to, farmspec.OpEncrypt, "token #m2Xa", true)
	p.say(to, browser, "200", "page and new token", true)
}

func (p *play) login(browser string) {
	p.step("Given", browser+" is signed in")
	p.exchange(browser, p.members[0], "POST", "/login", 303, "", farmspec.Header{Name: "Set-Cookie", Value: "__Secure-farm=#k9Qz; Domain=farm.test; Path=/; Secure; HttpOnly; SameSite=Lax"})
	p.r.Exchanges[len(p.r.Exchanges)-1].RequestBody = "user=ada-7f3a&password=#pw&csrf=#u81PzQ"
	p.say(browser, p.members[0], "POST", "/login", true)
	p.say(p.members[0], "service", farmspec.OpLogin, "user ada-7f3a", true)
	p.say("service", "database", farmspec.OpCreate, "session S-31", true)
	p.say(p.members[0], browser, "303", "signed in", true)
}

func hopPlay(p *play) {
	p.login("Ada")
	p.step("When", "Ada opens on server 1 the page that server 2 holds")
	p.hop("Ada", p.members[0], p.members[1], true)
	p.step("Then", "she sees her page")
	p.check(farmspec.Expectation, "the page of server-2, for ada-7f3a", "the page of server-2, for ada-7f3a")
	if p.r.Verdict == farmspec.Error {
		p.failed("stop session service: dial tcp 127.0.0.1:7071: connect: connection refused")
	}
	p.step("And", "her token is a new one")
	p.check(farmspec.Expectation, "a token other than #k9Qz", "a token other than #k9Qz")
}

func replayPlay(p *play) {
	p.login("Ada")
	p.login("Eve")
	p.step("And", "Ada has visited the page on server 2")
	p.hop("Ada", p.members[0], p.members[1], true)
	p.check(farmspec.Witness, "accepted", map[bool]string{true: "no answer", false: "accepted"}[p.r.Verdict == farmspec.Inconclusive])
	p.step("When", "Ada presents her earlier token again")
	bad := p.r.Verdict == farmspec.Fail
	p.hop("Ada", p.members[1], p.members[0], bad)
	p.step("Then", "the farm refuses it")
	p.check(farmspec.Refusal, "refused", map[bool]string{true: "accepted", false: "refused"}[bad])
	if bad {
		p.failed("present earlier token on server-2: expected refused, got accepted (status 200)")
		p.r.Steps = append(p.r.Steps, farmspec.Step{Keyword: "And", Text: "Eve's session still works", Status: "skipped"})
		return
	}
	p.step("And", "Eve's session still works")
	p.hop("Eve", p.members[0], p.members[1], true)
	p.check(farmspec.Survivor, "accepted", "accepted")
}

func racePlay(p *play) {
	p.login("Ada")
	p.step("When", "eight browsers present her token at once on every server")
	for i := range 8 {
		p.hop(fmt.Sprintf("Ada (%d)", i+1), p.members[0], p.members[1], i == 3)
	}
	p.step("Then", "exactly one is accepted")
	p.check(farmspec.Expectation, "1 accepted", "1 accepted")
}

func walkPlay(p *play) {
	p.login("Ada")
	p.step("When", "Ada walks through every pair of servers for a while")
	for i := range 14 {
		p.hop("Ada", p.members[i%len(p.members)], p.members[(i+1)%len(p.members)], true)
	}
	p.r.ExchangesOmitted = 172
	p.step("Then", "she is still signed in")
	p.check(farmspec.Expectation, "accepted", "accepted")
}
