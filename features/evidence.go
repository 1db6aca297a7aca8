package features

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/farmspec/farmspec"
)

// bounds limit a case's evidence. A long scenario keeps its beginning, its end
// and what its checks point at.
type bounds struct {
	first, last, checked int // exchanges
	messages             int
	body, bodyChecked    int // characters of a body
}

// What passed is kept to be looked at, what did not to be worked with.
var (
	passed    = bounds{first: 14, last: 8, checked: 24, messages: 90, body: 0, bodyChecked: 240}
	notPassed = bounds{first: 14, last: 8, checked: 60, messages: 200, body: 200, bodyChecked: 1000}
)

// evidence turns what the scenario saw into records without secrets; sparse,
// only the words of the verdict.
func (w *world) evidence(ctx context.Context, sparse bool) {
	w.mu.Lock()
	exchanges := slices.Clone(w.exchanges)
	traces := slices.Clone(w.traces)
	w.mu.Unlock()

	r := w.newRedactor(exchanges)
	if !sparse {
		w.exchangesAndMessages(ctx, exchanges, traces, r)
	}
	w.result.Reason = r.text(w.result.Reason)
	for i := range w.result.Steps {
		w.result.Steps[i].Error = r.text(w.result.Steps[i].Error)
	}
	for i := range w.result.Checks {
		w.result.Checks[i].Expected = r.text(w.result.Checks[i].Expected)
		w.result.Checks[i].Actual = r.text(w.result.Checks[i].Actual)
	}
}

func (w *world) exchangesAndMessages(ctx context.Context, exchanges []recorded, traces []string, r *redactor) {
	limit := passed
	if w.result.Verdict != farmspec.Pass {
		limit = notPassed
	}
	keep, checked := map[int]bool{}, map[int]bool{}
	for i := range exchanges {
		keep[i+1] = i < limit.first || i >= len(exchanges)-limit.last
	}
	for _, c := range w.result.Checks {
		if len(checked) < limit.checked || !c.OK {
			keep[c.Exchange], checked[c.Exchange] = true, true
		}
	}
	var messages []farmspec.MessageRecord
	var kept []farmspec.ExchangeRecord
	for i, x := range exchanges {
		n := i + 1
		if !keep[n] {
			w.result.ExchangesOmitted++
			continue
		}
		rec := w.exchangeRecord(n, x, r, checked[n], limit)
		kept = append(kept, rec)
		messages = append(messages, arrows(rec)...)
	}
	w.result.Exchanges = slices.Clone(kept) // without the room it grew in: thousands of cases keep theirs
	if w.hooks.Trace != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		for _, t := range traces {
			inside, err := w.hooks.Trace.Messages(ctx, t)
			if err != nil {
				continue // the diagram is a help, never a verdict
			}
			for _, m := range inside {
				if m.From == "browser" || m.To == "browser" || m.Op == farmspec.OpReceive || m.Op == farmspec.OpRespond {
					continue // the exchanges show these, by browser
				}
				messages = append(messages, farmspec.MessageRecord{
					Offset: m.At.Sub(w.began), From: m.From, To: m.To, Op: m.Op, Detail: r.text(m.Detail), OK: m.OK,
				})
			}
		}
	}
	slices.SortStableFunc(messages, func(a, b farmspec.MessageRecord) int { return int(a.Offset - b.Offset) })
	if len(messages) > limit.messages { // the end tells more than the signing in
		messages = messages[len(messages)-limit.messages:]
		if i := slices.IndexFunc(messages, func(m farmspec.MessageRecord) bool { return m.Op == "request" }); i > 0 {
			messages = messages[i:] // from a request on, not from the middle of an answer
		}
	}
	w.result.Messages = slices.Clone(messages) // without what was left out
}

// arrows are the request and the answer of an exchange in a sequence diagram.
func arrows(x farmspec.ExchangeRecord) []farmspec.MessageRecord {
	member := x.Member
	if member == "" {
		member = "farm"
	}
	path := x.URL
	if u, err := url.Parse(x.URL); err == nil {
		path = u.RequestURI()
	}
	answer := farmspec.MessageRecord{
		Offset: x.Offset + x.Took, From: member, To: x.Browser, Op: "answer", Exchange: x.N,
		Detail: fmt.Sprintf("%d %s", x.Status, http.StatusText(x.Status)), OK: x.Status > 0 && x.Status < 400,
	}
	if x.Status == 0 {
		answer.Detail = "no answer"
	}
	return []farmspec.MessageRecord{
		{Offset: x.Offset, From: x.Browser, To: member, Op: "request", Detail: x.Method + " " + path, OK: true, Exchange: x.N},
		answer,
	}
}

func (w *world) exchangeRecord(n int, x recorded, r *redactor, checked bool, limit bounds) farmspec.ExchangeRecord {
	length, which := limit.body, telling
	if checked {
		length = limit.bodyChecked
		if w.result.Verdict != farmspec.Pass {
			which = nil // every line
		}
	}
	rec := farmspec.ExchangeRecord{
		N: n, Step: x.step, Browser: x.Browser, Offset: x.Start.Sub(w.began), Took: x.Took,
		Method: x.Method, URL: r.text(x.URL), RequestHeader: r.headers(x.RequestHeader, which), RequestBody: r.body([]byte(x.RequestBody), length),
		Status: x.Status, Header: r.headers(x.Header, which), Body: r.body(x.Body, length), BodyBytes: len(x.Body),
	}
	if m, ok := w.target.MemberOf(x.URL); ok {
		rec.Member = m.Name
	}
	if x.Err != nil {
		rec.Error = r.text(x.Err.Error())
	}
	return rec
}

// redactor replaces secrets by salted digests: every cookie value, every
// password, every hand-off parameter, wherever they stand.
type redactor struct {
	known  *strings.Replacer
	params *regexp.Regexp
}

// minSecret keeps short cookie values such as "1" from being replaced all
// over a page; they are still replaced in the cookie headers themselves. A
// password is never too short.
const minSecret = 8

func (w *world) newRedactor(exchanges []recorded) *redactor {
	secrets := map[string]bool{}
	add := func(s string) {
		// A cookie may name a member, as one that says where the session went does.
		if _, public := w.target.Member(s); len(s) >= minSecret && !public {
			secrets[s] = true
			secrets[url.QueryEscape(s)] = true
		}
	}
	for _, p := range w.people {
		for _, s := range append([]string{p.user.Password}, p.passwords...) {
			asJSON, _ := json.Marshal(s) // a string has no error
			secrets[s], secrets[url.QueryEscape(s)], secrets[string(asJSON[1:len(asJSON)-1])] = true, true, true
		}
		for _, t := range p.tokens {
			add(t.value)
		}
	}
	for _, x := range exchanges {
		for _, c := range x.SetCookies() {
			add(c.Value)
		}
		for _, line := range x.RequestHeader["Cookie"] {
			for pair := range strings.SplitSeq(line, ";") {
				_, v, _ := strings.Cut(pair, "=")
				add(strings.TrimSpace(v))
			}
		}
		for _, t := range []string{x.URL, x.Location()} {
			if p, err := w.target.TokenIn(t); err == nil {
				add(p.ID)
			}
		}
	}
	for _, s := range w.secrets {
		add(s)
	}
	delete(secrets, "")
	var pairs []string
	for _, s := range slices.SortedFunc(mapKeys(secrets), func(a, b string) int { return len(b) - len(a) }) {
		pairs = append(pairs, s, farmspec.Digest(s))
	}
	r := &redactor{known: strings.NewReplacer(pairs...)}
	h := w.target.HandoffParams
	var names []string
	inAddress := ""
	if w.target.Carrier.Kind != "cookie" {
		inAddress = w.target.Carrier.Name
	}
	for _, n := range []string{h.ID, h.Timestamp, h.Sealed, inAddress} {
		if n != "" {
			names = append(names, regexp.QuoteMeta(n))
		}
	}
	if len(names) > 0 {
		r.params = regexp.MustCompile(`([?&;](?:amp;)?(?:` + strings.Join(names, "|") + `)=)([^&"'<>\s;#]+)`)
	}
	return r
}

func mapKeys(m map[string]bool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (r *redactor) text(s string) string {
	s = r.known.Replace(s)
	if r.params == nil || !strings.Contains(s, "=") {
		return s
	}
	return r.params.ReplaceAllStringFunc(s, func(m string) string {
		name, value, _ := strings.Cut(m, "=")
		if strings.HasPrefix(value, "#") {
			return m
		}
		return name + "=" + farmspec.Digest(value)
	})
}

// body is the beginning of a body. It is cut before it is searched for
// secrets, so what the cut may have halved goes too: the last unbroken run.
func (r *redactor) body(b []byte, length int) string {
	if length == 0 || len(b) == 0 {
		return ""
	}
	s, cut := string(b), false
	if margin := 2*length + 512; len(s) > margin {
		s, cut = s[:margin], true
		s = s[:strings.LastIndexAny(s, " \n\"'<>&=;")+1]
	}
	s = strings.ToValidUTF8(r.text(s), "\uFFFD")
	if len(s) > length {
		s, cut = strings.ToValidUTF8(s[:length], ""), true
	}
	if cut {
		return s + " …"
	}
	return strings.Clone(s) // and let go of the whole body
}

// telling are the header lines that tell how sessions are kept.
var telling = []string{
	"Authorization", "Cache-Control", "Clear-Site-Data", "Content-Type", "Cookie", "Location", "Origin", "Referer", "Referrer-Policy",
	"Sec-Fetch-Dest", "Set-Cookie", "Traceparent",
}

// headers are the lines of those names, or all for nil, by name.
func (r *redactor) headers(h http.Header, which []string) []farmspec.Header {
	var out []farmspec.Header
	for name, values := range h {
		if which != nil && !slices.Contains(which, name) {
			continue
		}
		for _, v := range values {
			switch name {
			case "Cookie":
				v = redactPairs(v)
			case "Set-Cookie":
				pair, rest, more := strings.Cut(v, ";")
				v = redactPairs(pair)
				if more {
					v += ";" + rest
				}
			case "Authorization":
				scheme, credential, _ := strings.Cut(v, " ")
				if !slices.Contains([]string{"bearer", "basic", "digest"}, strings.ToLower(scheme)) {
					v = farmspec.Digest(v) // it may be the credential
					break
				}
				v = scheme + " " + farmspec.Digest(credential)
			default:
				v = r.text(v)
			}
			out = append(out, farmspec.Header{Name: name, Value: strings.Clone(v)}) // not the whole header block
		}
	}
	slices.SortStableFunc(out, func(a, b farmspec.Header) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// redactPairs keeps the names of a cookie header and digests the values.
func redactPairs(line string) string {
	pairs := strings.Split(line, ";")
	for i, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		switch {
		case ok && strings.TrimSpace(value) != "":
			pairs[i] = name + "=" + farmspec.Digest(strings.TrimSpace(value))
		case !ok:
			pairs[i] = farmspec.Digest(p)
		}
	}
	return strings.Join(pairs, ";")
}
