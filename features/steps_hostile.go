package features

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/farmspec/farmspec"
)

// The steps of hostile requests: bytes that no browser sends, written to the
// connection as they are.

type hostileScene struct {
	answers []hostileAnswer
	// looks are how tokens that are none were refused, by server.
	looks map[string][]hostileAnswer
	// clean are lines of answers that show nothing of the inside.
	clean map[string]bool
}

// hostileAnswer is what came of a hostile request.
type hostileAnswer struct {
	hostileRequest
	*farmspec.Exchange
}

// hostileRequest is a request that no honest browser or server makes.
type hostileRequest struct {
	what string
	// method is GET, and target a good one, where they are empty.
	method, target string
	// header are whole lines; body goes out with its length unless the header
	// says something of its own.
	header []string
	body   string
	// oversized: the server may hang up without an answer.
	oversized bool
	// unparsable: a server that stops reading resets the connection, and its
	// answer may be lost on the way.
	unparsable bool
}

// errNoHeader stands for an answer that is content alone, as HTTP/0.9 has it;
// some servers take a request without an address for one of these.
var errNoHeader = errors.New("read answer: content without a header, as in HTTP/0.9")

// noAnswerNeeded reports whether that there is no answer, or none with a
// header, is a refusal, too.
func (a *hostileAnswer) noAnswerNeeded() bool {
	return a.oversized || a.unparsable && (errors.Is(a.Err, syscall.ECONNRESET) || errors.Is(a.Err, errNoHeader))
}

func (w *world) registerHostile(s stepper) {
	s.step(`somebody without a session asks for every page on server (\d+) by every method`, w.asksByEveryMethod)
	s.step(`none of these requests gets a page or a token`, w.noneGetsAPage)
	s.step(`malformed requests are sent to servers (\d+) and (\d+)`, w.malformedRequests)
	s.step(`malformed calls with that token are made to the service`, w.malformedCalls)
	s.step(`each of them is refused`, w.eachRefused)
	s.step(`no answer shows anything of the inside`, w.showsNothingOfTheInside)
	s.step(`those with a token that is none are all refused alike`, w.noTokensRefusedAlike)
}

// raw writes a request to a connection of its own and reads one answer. The
// exchange it records shows long parts shortened.
func (w *world) raw(ctx context.Context, who, base string, r hostileRequest) *farmspec.Exchange {
	x := &farmspec.Exchange{Browser: who, Start: time.Now(), Method: r.method, RequestHeader: http.Header{}, RequestBody: shortened(r.body)}
	for _, line := range r.header {
		name, value, _ := strings.Cut(line, ":")
		x.RequestHeader.Add(name, shortened(strings.TrimSpace(value)))
	}
	defer func() {
		x.Took = time.Since(x.Start)
		w.record(x)
	}()
	u, err := url.Parse(base)
	if err != nil {
		x.Err = err
		return x
	}
	x.URL = u.Scheme + "://" + u.Host + shortened(r.target)
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	conn, err := w.transport.DialContext(ctx, "tcp", host)
	if err != nil {
		x.Err = fmt.Errorf("send request: %w", err)
		return x
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(inTime)); err != nil {
		x.Err = err
		return x
	}
	if u.Scheme == "https" {
		c := w.transport.TLSClientConfig.Clone()
		c.ServerName = u.Hostname()
		conn = tls.Client(conn, c)
	}

	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", r.method, r.target)
	own := func(name string) bool {
		return slices.ContainsFunc(r.header, func(line string) bool {
			n, _, _ := strings.Cut(line, ":")
			return strings.EqualFold(n, name)
		})
	}
	if !own("Host") {
		fmt.Fprintf(&b, "Host: %s\r\n", u.Host)
	}
	if (r.body != "" || r.method == http.MethodPost) && !own("Content-Length") && !own("Transfer-Encoding") {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.body))
	}
	for _, line := range r.header {
		if line != "Host:" { // which stands for none
			b.WriteString(line + "\r\n")
		}
	}
	b.WriteString("Connection: close\r\n\r\n" + r.body)
	go func() { _, _ = conn.Write(b.Bytes()) }() // who answers early does not read it all

	answer := bufio.NewReader(conn)
	if begin, err := answer.Peek(5); err == nil && string(begin) != "HTTP/" {
		x.Body, _ = io.ReadAll(io.LimitReader(answer, farmspec.MaxBody))
		x.Err = errNoHeader
		return x
	}
	resp, err := http.ReadResponse(answer, &http.Request{Method: r.method})
	if err != nil {
		x.Err = fmt.Errorf("read answer: %w", err)
		return x
	}
	defer func() { _ = resp.Body.Close() }()
	x.Status, x.Header = resp.StatusCode, resp.Header
	if x.Body, err = io.ReadAll(io.LimitReader(resp.Body, farmspec.MaxBody)); err != nil {
		x.Err = fmt.Errorf("read answer: %w", err)
	}
	return x
}

// shortened keeps hostile lengths out of reports.
func shortened(s string) string {
	const most = 160
	if len(s) <= most {
		return s
	}
	return fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(s[:most], "\uFFFD"), len(s))
}

func (w *world) asksByEveryMethod(ctx context.Context, server int) error {
	m, err := w.member(server)
	if err != nil {
		return err
	}
	b := w.newBrowser("nobody")
	ask := func(method, path, marker string, header http.Header, body string) {
		for _, dest := range []string{"document", ""} {
			x := b.Send(ctx, farmspec.Request{Method: method, URL: m.At(path), Header: header, Body: body, Dest: dest, NewConn: true}) // who refuses one may hang up
			w.hostile.answers = append(w.hostile.answers, hostileAnswer{
				hostileRequest{what: method + " " + path, target: marker, unparsable: method == "BREW" || method == "get"}, x})
		}
	}
	form := func() http.Header { return http.Header{"Content-Type": {"application/x-www-form-urlencoded"}} }
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW", "get"}
	for _, p := range w.target.Pages {
		if p.Member != m.Name {
			continue
		}
		for _, method := range methods {
			ask(method, p.Path, p.Marker, nil, "")
		}
		for _, override := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
			h := form()
			h.Set(override, "GET")
			ask("POST", p.Path, p.Marker, h, "_method=GET")
		}
	}
	for _, a := range w.target.Apps {
		if a.Member == m.Name {
			ask("HEAD", a.Path, a.Marker, nil, "")
			ask("POST", a.Path, a.Marker, form(), url.Values{a.Field: {"planted"}}.Encode())
		}
	}
	return ctx.Err()
}

// noneGetsAPage demands more than that no page is shown: the answer to a HEAD
// shows none, and still tells what is there where it is a yes.
//
// Some farms answer with their log-in form in place of the page, as a yes too;
// where a GET shows that they do, it counts as a refusal.
func (w *world) noneGetsAPage(ctx context.Context) error {
	w.refusals++
	inPlace := slices.ContainsFunc(w.hostile.answers, func(a hostileAnswer) bool {
		return a.Method == http.MethodGet && a.Status/100 == 2 && w.hasLogIn(a.Exchange)
	})
	for _, a := range w.hostile.answers {
		yes := a.Status/100 == 2 && a.Method != http.MethodOptions
		if yes && inPlace {
			yes = a.Method != http.MethodHead && !w.hasLogIn(a.Exchange)
		}
		good, err := w.setsGoodToken(ctx, a.Exchange)
		if err != nil {
			return err
		}
		switch {
		case a.Err != nil && a.noAnswerNeeded():
		case a.Err != nil:
			return &failedControl{fmt.Sprintf("%s: %s", a.what, describe(a.Exchange))}
		case yes || strings.Contains(string(a.Body), a.target):
			return w.expect(false, a.Exchange, "no page for "+a.what+" without a session", describe(a.Exchange)+" and what looks like the page")
		case good:
			return w.expect(false, a.Exchange, "no token for "+a.what+" without a session", "it sent one")
		}
	}
	return w.expect(true, nil, "no page without a session, by whatever method", fmt.Sprintf("none in %d requests", len(w.hostile.answers)))
}

// hostileToServers are requests to a server whose addresses begin with the
// path base, and who holds the page at good.
func (w *world) hostileToServers(base, good string) []hostileRequest {
	carrier := w.target.Carrier.Name
	long := strings.Repeat("A", 16_000)
	all := []hostileRequest{
		{what: "a header beyond every bound", header: []string{"Cookie: " + carrier + "=" + strings.Repeat("A", 200_000)}, oversized: true},
		{what: "an address of 10 kB", target: good + "?" + strings.Repeat("q", 10_000)},
		{what: "an address beyond every bound", target: good + "?" + strings.Repeat("q", 200_000), oversized: true},
		{what: "control characters in the cookie", header: []string{"Cookie: " + carrier + "=\x01\x07\x1b[31m\x7f"}, unparsable: true},
		{what: "a NUL in the cookie", header: []string{"Cookie: " + carrier + "=a\x00b"}, unparsable: true},
		{what: "control characters in the address", target: good + "?\x01\x02", unparsable: true},
		{what: "a blank in the address", target: good + "?a b", unparsable: true},
		{what: "a lone percent sign", target: good + "%"},
		{what: "half an escape", target: good + "%2"},
		{what: "an escape of no hex digits", target: good + "%zz?%zz=%zz"},
		{what: "an overlong slash", target: good + "..%c0%af..%c0%afetc"},
		{what: "an escaped NUL", target: good + "%00.html"},
		{what: "a climb out of the root", target: good + "../../../../../../x"},
		{what: "an escaped climb", target: good + "..%2f..%2f..%2fx"},
		{what: "backslashes", target: good + `..\..\..\x`},
		{what: "another host's address", target: "http://elsewhere.invalid" + good},
		{what: "an asterisk for an address", target: "*"},
		{what: "no address", target: "", unparsable: true},
		{what: "another host's name", header: []string{"Host: elsewhere.invalid"}},
		{what: "a host of no characters allowed", header: []string{"Host: <script>"}, unparsable: true},
		{what: "no host", header: []string{"Host:"}, unparsable: true},
		{what: "a method of 1 kB", method: strings.Repeat("M", 1000), unparsable: true},
		{what: "a method in small letters", method: "get", unparsable: true},
		{what: "a made-up method", method: "BREW", unparsable: true},
		{what: "TRACE", method: "TRACE", header: []string{"Cookie: " + carrier + "=reflected"}},
		{what: "a length of no digits", method: "POST", header: []string{"Content-Length: many"}, body: "x", unparsable: true},
		{what: "a negative length", method: "POST", header: []string{"Content-Length: -1"}, body: "x", unparsable: true},
		{what: "two lengths", method: "POST", header: []string{"Content-Length: 1", "Content-Length: 2"}, body: "xx", unparsable: true},
		{what: "chunks of no length", method: "POST", header: []string{"Transfer-Encoding: chunked"}, body: "zz\r\nx\r\n0\r\n\r\n", unparsable: true},
		{what: "an unknown transfer coding", method: "POST", header: []string{"Transfer-Encoding: rot13"}, body: "x", unparsable: true},
		{what: "a header without a colon", header: []string{"nonsense"}, unparsable: true},
		{what: "a folded header", header: []string{"X-A: b", " folded"}, unparsable: true},
		{what: "a log-in that is JSON", method: "POST", target: base + w.target.Login.Path, header: []string{"Content-Type: application/json"}, body: `{"user":{"$gt":""},"password":{"$gt":""}}`},
		{what: "a log-in with broken escapes", method: "POST", target: base + w.target.Login.Path, header: []string{"Content-Type: application/x-www-form-urlencoded"}, body: w.target.Login.UserField + "=%zz&" + w.target.Login.PassField + "=%"},
		{what: "a log-in of 100 kB", method: "POST", target: base + w.target.Login.Path, header: []string{"Content-Type: application/x-www-form-urlencoded"}, body: w.target.Login.UserField + "=" + strings.Repeat("u", 100_000), oversized: true},
		{what: "a log-in in no part", method: "POST", target: base + w.target.Login.Path, header: []string{"Content-Type: multipart/form-data; boundary=x"}, body: "--y\r\n"},
		{what: "a log-out of nothing", method: "POST", target: base + w.target.Logout.Path, header: []string{"Content-Type: text/plain"}, body: "\x00\xff"},
		{what: "wrong values of every usual header", header: []string{"Accept: \xff/\xff", "Accept-Encoding: ;;;", "Range: bytes=9-1,-,x", "If-None-Match: \"", "If-Modified-Since: never", "Traceparent: 00-zz", "Sec-Fetch-Dest: \"", "Content-Type: /", "Authorization: Basic %%%", "Origin: null", "Referer: %"}},
	}
	h := w.target.HandoffParams
	for _, name := range []string{h.ID, h.Timestamp, h.Sealed} {
		if name == "" {
			continue
		}
		for what, value := range map[string]string{"no bytes of text": "%ff%00", "broken escapes": "%zz", "an array": "[]=1", "10 kB": strings.Repeat("h", 10_000)} {
			all = append(all, hostileRequest{what: "a hand-off of " + what, target: good + "?" + name + "=" + value})
		}
		all = append(all, hostileRequest{what: "a hand-off twice", target: good + "?" + name + "=a&" + name + "=b"})
	}
	slices.SortStableFunc(all, func(a, b hostileRequest) int { return strings.Compare(a.what, b.what) })
	for what, value := range map[string]string{
		"nothing": "", "one letter": "x", "16 kB": long, "bytes of no text": "\x80\xfe\xff", "quotes": `""`, "equals signs": "====",
		"markup": "<script>", "a query of a database": "' OR '1'='1", "broken escapes": "%zz%", "an object": `{"id":1}`,
	} {
		all = append(all, hostileRequest{what: tokenOfNone + what, header: []string{"Cookie: " + carrier + "=" + value}, oversized: value == long})
	}
	slices.SortStableFunc(all[len(all)-10:], func(a, b hostileRequest) int { return strings.Compare(a.what, b.what) })
	return all
}

// tokenOfNone begins the names of requests whose only fault is a token that
// is none; all of them are to look alike.
const tokenOfNone = "a token of "

func (w *world) malformedRequests(ctx context.Context, first, second int) error {
	w.hostile.looks = map[string][]hostileAnswer{}
	for _, n := range []int{first, second} {
		m, err := w.member(n)
		if err != nil {
			return err
		}
		u, err := url.Parse(m.URL)
		if err != nil {
			return err
		}
		good := u.Path + w.home(m).Path
		for _, r := range w.hostileToServers(u.Path, good) {
			if r.method == "" {
				r.method = http.MethodGet
			}
			if r.target == "" && r.what != "no address" {
				r.target = good
			}
			a := hostileAnswer{r, w.raw(ctx, "a stranger", m.URL, r)}
			w.hostile.answers = append(w.hostile.answers, a)
			if strings.HasPrefix(r.what, tokenOfNone) {
				w.hostile.looks[m.Name] = append(w.hostile.looks[m.Name], a)
			}
		}
	}
	return ctx.Err()
}

// inside is what no answer to a stranger shows: stack traces, source files,
// the types and errors of languages and libraries, folders of the machine.
var insides = []*regexp.Regexp{
	regexp.MustCompile(`goroutine \d+|runtime error|panic\(|panic:`),
	regexp.MustCompile(`\b[\w/-]+\.(go|java|py|php|rb|js|ts|cs|cpp):\d+`),
	regexp.MustCompile(`\bat [\w.$<>]+\([\w.]*(:\d+)?\)`),
	regexp.MustCompile(`Traceback \(most recent|File "[^"]+", line \d+|[a-z]\w*\.[A-Z]\w*(Exception|Error)\b`),
	regexp.MustCompile(`Go (struct field|value of type)|\*?\b(web|reference|http|json|url|sql|net)\.[A-Z]\w+`),
	regexp.MustCompile(`invalid character|cannot unmarshal|unexpected end of JSON|invalid URL escape|illegal base64|cipher: |encoding/hex`),
	regexp.MustCompile(`(?i)sqlite|sqlstate|syntax error at|near "[^"]*": syntax|pq: |redis: `),
	regexp.MustCompile(`(^|[\s"'(=])/(home|root|usr|var|opt|srv|tmp|etc|work|build|app)/[\w.-]+`),
}

// shownInside is what of the inside an answer shows, or "". A line that was
// found clean is not read again: pages of errors repeat themselves.
func (w *world) shownInside(x *farmspec.Exchange) string {
	if w.hostile.clean == nil {
		w.hostile.clean = map[string]bool{}
	}
	for line := range bytes.Lines(x.Body) {
		if w.hostile.clean[string(line)] {
			continue
		}
		for _, re := range insides {
			if m := re.Find(line); m != nil {
				return string(m)
			}
		}
		w.hostile.clean[string(line)] = true
	}
	for _, re := range insides {
		for name, values := range x.Header {
			for _, v := range values {
				if m := re.FindString(v); m != "" && name != "Location" && name != "Content-Type" { // which repeat the request, and name types
					return name + ": " + m
				}
			}
		}
	}
	return ""
}

// setsGoodToken reports whether an answer to somebody who did not log in sets
// a token that counts. One that rotates does so always. Where it does not, the
// cookie may also name an anonymous session, and counts if it opens a page.
func (w *world) setsGoodToken(ctx context.Context, x *farmspec.Exchange) (bool, error) {
	if !w.setsToken(x) {
		return false, nil
	}
	if w.target.Rotation != farmspec.NoRotation {
		return true, nil
	}
	m, ok := w.target.MemberOf(x.URL)
	if !ok { // such as the address of another host
		m = w.target.Members[0]
	}
	for _, c := range x.SetCookies() {
		if c.Name != w.target.Carrier.Name || c.Value == "" {
			continue
		}
		if good, err := w.opens(ctx, carried{value: c.Value}, m); good || err != nil {
			return good, err
		}
	}
	return false, nil
}

// opens reports whether a token alone gets a protected page of the member's.
func (w *world) opens(ctx context.Context, t carried, m farmspec.Member) (bool, error) {
	b := w.newBrowser("somebody")
	w.give(b, t, m)
	page := w.home(m)
	visit, err := b.Open(ctx, m.At(page.Path))
	if err != nil {
		return false, fmt.Errorf("try a token at %s: %w", m.Name, err)
	}
	if x := visit.Final(); x.Err != nil {
		return false, fmt.Errorf("try a token at %s: %w", m.Name, x.Err)
	}
	return bytes.Contains(visit.Final().Body, []byte(page.Marker)), nil
}

func (w *world) eachRefused(ctx context.Context) error {
	w.refusals++
	for _, a := range w.hostile.answers {
		if err := w.refusedHostile(ctx, a); err != nil {
			return err
		}
	}
	return w.expect(true, nil, "refusals of malformed requests", fmt.Sprintf("%d of %d", len(w.hostile.answers), len(w.hostile.answers)))
}

// showsNothingOfTheInside looks at every answer, whatever its status says: a
// server that fails at bytes which are no HTTP grants nothing by it, and may
// still tell too much.
func (w *world) showsNothingOfTheInside() error {
	w.refusals++
	for _, a := range w.hostile.answers {
		if page := w.shownPage(a.Exchange); page != "" {
			return &failedControl{fmt.Sprintf("%s gets %s and no error to look at", a.what, page)}
		}
		if shown := w.shownInside(a.Exchange); shown != "" {
			return w.expect(false, a.Exchange, "an answer to "+a.what+" that shows nothing of the inside", "it shows "+shown)
		}
	}
	return w.expect(true, nil, "answers that show nothing of the inside", fmt.Sprintf("%d of %d", len(w.hostile.answers), len(w.hostile.answers)))
}

func (w *world) refusedHostile(ctx context.Context, a hostileAnswer) error {
	if a.Err != nil && w.shownPage(a.Exchange) == "" {
		if a.noAnswerNeeded() {
			return nil
		}
		return &failedControl{fmt.Sprintf("%s gets no answer, which is no refusal: %s", a.what, describe(a.Exchange))}
	}
	expected := "a refusal of " + a.what
	good, err := w.setsGoodToken(ctx, a.Exchange)
	if err != nil {
		return err
	}
	switch {
	case good:
		return w.expect(false, a.Exchange, expected, "a new token")
	case w.shownPage(a.Exchange) != "":
		return w.expect(false, a.Exchange, expected, "the page "+w.shownPage(a.Exchange))
	case a.mustFail() && a.Status/100 == 2:
		return w.expect(false, a.Exchange, expected, describe(a.Exchange))
	case a.mustFail() && a.Status >= 500:
		return w.expect(false, a.Exchange, expected, describe(a.Exchange)+", which is a failure")
	}
	return nil
}

// mustFail reports whether no good answer will do. A server may well show its
// log-in page in answer to nonsense; the service has no such pages.
func (a hostileAnswer) mustFail() bool { return strings.HasPrefix(a.what, callOf) }

// callOf begins the names of calls of the service.
const callOf = "a call "

// shownPage is the protected page an answer shows, or "".
func (w *world) shownPage(x *farmspec.Exchange) string {
	for _, p := range w.target.Pages {
		if p.Marker != "" && bytes.Contains(x.Body, []byte(p.Marker)) {
			return p.Path
		}
	}
	return ""
}

func (w *world) noTokensRefusedAlike() error {
	for member, answers := range w.hostile.looks {
		answers = slices.DeleteFunc(slices.Clone(answers), func(a hostileAnswer) bool {
			return a.oversized && tooLarge(a.Status) // refused for its size, before anybody looked for a token
		})
		first := answers[0]
		for _, a := range answers[1:] {
			same := a.Status == first.Status && sameSize(len(a.Body), len(first.Body)) && a.Header.Get("Location") == first.Header.Get("Location")
			if !same {
				return w.expect(false, a.Exchange, "one refusal for every token that is none at "+member,
					fmt.Sprintf("%s: status %d, %d bytes; %s: status %d, %d bytes", first.what, first.Status, len(first.Body), a.what, a.Status, len(a.Body)))
			}
		}
	}
	return w.expect(true, nil, "one refusal for every token that is none", "all alike at each server")
}

// tooLarge reports whether a status is one that servers give headers beyond
// their bound.
func tooLarge(status int) bool {
	return slices.Contains([]int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge}, status)
}

// hostileCalls are calls that the service's document does not describe, made
// with a token that is good.
func hostileCalls(t farmspec.PlainToken) []hostileRequest {
	good := `{"token":` + tokenJSON(t) + `}`
	other := `{"id":"` + strings.Repeat("0", len(t.ID)) + `","timestamp":1}`
	id, stamp, _ := strings.Cut(strings.Trim(tokenJSON(t), "{}"), ",")
	var all []hostileRequest
	add := func(what, method, path, kind, body string, header ...string) {
		if kind != "" {
			header = append(header, "Content-Type: "+kind)
		}
		all = append(all, hostileRequest{what: callOf + what, method: method, target: path, header: header, body: body})
	}
	const json = "application/json"
	for _, path := range []string{"/v1/verify", "/v1/renew", "/v1/logout"} {
		for _, b := range []struct{ what, body string }{
			{"without a body", ``},
			{"with an open brace", `{`},
			{"with null", `null`},
			{"with a list", `[` + good + `]`},
			{"with a text", `"` + t.ID + `"`},
			{"with an empty object", `{}`},
			{"with a token of null", `{"token":null}`},
			{"with a token of text", `{"token":"` + t.ID + `"}`},
			{"with the token twice", `{"token":` + other + `,"token":` + tokenJSON(t) + `}`},
			{"with the session ID twice", `{"token":{"id":"` + strings.Repeat("0", len(t.ID)) + `",` + id + `,` + stamp + `}}`},
			{"with the name in capitals", `{"TOKEN":` + tokenJSON(t) + `}`},
			{"with an unknown name", `{"token":` + tokenJSON(t) + `,"admin":true}`},
			{"with half a token", `{"token":{` + id + `}}`},
			{"with a timestamp of text", `{"token":{` + id + `,"timestamp":"1"}}`},
			{"with a timestamp beyond 64 bits", `{"token":{` + id + `,"timestamp":99999999999999999999}}`},
			{"with a timestamp of 1e400", `{"token":{` + id + `,"timestamp":1e400}}`},
			{"with a broken timestamp", `{"token":{` + id + `,"timestamp":1.5}}`},
			{"with a session ID of a number", `{"token":{"id":7,` + stamp + `}}`},
			{"with a session ID of 4 kB", `{"token":{"id":"` + strings.Repeat("a", 4000) + `",` + stamp + `}}`},
			{"with a session ID of no hex digits", `{"token":{"id":"` + strings.Repeat("z", len(t.ID)) + `",` + stamp + `}}`},
			{"with an escaped NUL", `{"token":{"id":"\u0000",` + stamp + `}}`},
			{"with bytes of no text", "{\"token\":{\"id\":\"\xff\xfe\"," + stamp + "}}"},
			{"with something behind", good + `x`},
			{"with two objects", good + good},
			{"with a byte order mark", "\ufeff" + good},
			{"nested a thousand deep", strings.Repeat(`{"token":`, 800) + `1` + strings.Repeat(`}`, 800)},
			{"nested a thousand lists deep", `{"token":` + strings.Repeat(`[`, 3500) + strings.Repeat(`]`, 3500) + `}`},
			{"of 200 kB", `{"token":` + tokenJSON(t) + strings.Repeat(" ", 200_000) + `}`},
		} {
			add(b.what+" to "+path, "POST", path, json, b.body)
		}
		all[len(all)-1].oversized = true
		add("of no content type to "+path, "POST", path, "", good)
		add("of a form's content type to "+path, "POST", path, "application/x-www-form-urlencoded", good)
		add("of plain text to "+path, "POST", path, "text/plain", good)
		add("of a content type that is none to "+path, "POST", path, "/;;", good)
		add("with GET to "+path, "GET", path, json, good)
		add("with PUT to "+path, "PUT", path, json, good)
		add("with a made-up method to "+path, "BREW", path, json, good)
		add("with a content coding that is a lie to "+path, "POST", path, json, "\x1f\x8b\x08garbage", "Content-Encoding: gzip")
		add("with chunks of no length to "+path, "POST", path, json, "zz\r\n"+good, "Transfer-Encoding: chunked")
		for _, wrong := range []string{path + "/", "/" + path, "/v1/.." + path, path + "%00", path + ";x=1", strings.ToUpper(path), path + "%", "/v9" + path} {
			add("to "+wrong, "POST", wrong, json, good)
		}
	}
	return all
}

func (w *world) malformedCalls(ctx context.Context) error {
	header, err := w.asServer(1)
	if err != nil {
		return err
	}
	for _, r := range hostileCalls(w.service.tokens[w.service.asked]) {
		for name, values := range header {
			for _, v := range values {
				r.header = append(r.header, name+": "+v)
				w.keepSecret(v)
			}
		}
		w.hostile.answers = append(w.hostile.answers, hostileAnswer{r, w.raw(ctx, "a server", w.hooks.Service.Endpoint(), r)})
	}
	return ctx.Err()
}
