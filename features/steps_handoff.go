package features

import (
	"compress/zlib"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/farmspec/farmspec"
)

// The steps of the hand-off: what the first server sends the browser on with,
// what it refuses to, and what becomes of the address.

type handoffScene struct {
	// redirects are the answers at which somebody stopped, by who; pages what was asked for.
	redirects map[string]*farmspec.Exchange
	pages     map[string]farmspec.Page
	// refs are the hand-offs of many redirects.
	refs []string
	// tries are the attempts that one Then judges together.
	tries []*attempt
	// refused are those that a Then has found refused.
	refused []*attempt
	// query is what the last page was asked with.
	query string
	// rows are the stored sessions as they were noted, by reference.
	rows map[string]farmspec.Row
	rand *rand.Rand
}

func (w *world) registerHandoff(s stepper) {
	s.step(`server (\d+) redirected \w+ and server (\d+) answered with the page`, w.redirectedAndAnswered)
	s.step(`(\w+) asks server (\d+) for the `+kindPattern+` on server (\d+) and stops at the redirect`, w.stopsAtRedirect)
	s.step(`(\w+) asks server (\d+) for the `+kindPattern+` on server (\d+) (\d+) times and stops at the redirect`, w.stopsManyTimes)
	s.step(`(\w+) follows the redirect`, w.followsRedirect)
	s.step(`no browser or proxy may keep the redirect for another time`, w.redirectIsTemporary)
	s.step(`the report names the product, its version and its artefact`, w.reportNamesProduct)
	s.step(`the session service still verifies (\w+)'s token`, w.serviceStillVerifies)
	s.step(`(\w+) posts to an application of server (\d+) by way of server (\d+)`, w.postsByWayOf)
	s.step(`what \w+ posted was remembered or visibly refused`, w.rememberedOrRefused)

	s.step(`no usual decoding of \w+ tokens shows \w+ name or the time`, w.decodingsShowNothing)
	s.step(`no two of \w+ tokens are equal or share a block`, w.tokensShareNothing)

	s.step(`(\w+) presents (.+) to server (\d+) for the `+kindPattern+` on server (\d+)`, w.presentsFor)
	s.step(`(\w+) presents (.+) to every server`, w.presentsToEvery)
	s.step(`the farm refuses all of it`, w.refusesAll)
	s.step(`the farm refuses all of it and issues no hand-off`, w.refusesAllWithoutHandoff)
	s.step(`all these refusals look alike`, w.refusalsLookAlike)
	s.step(`the idle time-out is over`, w.idleTimeoutIsOver)
	s.step(`the hand-off names the session ID and timestamp of (\w+)'s token`, w.handoffNamesToken)

	s.step(`the address server (\d+) sent \w+ to has one hand-off`, w.addressHasOneHandoff)
	s.step(`(\w+) asks server (\d+) for the `+kindPattern+` on server (\d+) with the query "(.*)"`, w.asksWithQuery)
	s.step(`(\w+) asks server (\d+) for the `+kindPattern+` on server (\d+) with a query of (\d+) characters`, w.asksWithLongQuery)
	s.step(`(\w+) asks server (\d+) for the `+kindPattern+` on server (\d+) with (\w+)'s hand-off in the address`, w.asksWithHandoff)
	s.step(`server (\d+) was asked with that query and no more than one hand-off`, w.askedWithQuery)
	s.step(`nobody but (\w+) is shown, and server (\d+) was asked with no more than one hand-off`, w.nobodyElseShown)

	s.step(`no address of the hop shows (?:her|his) token, (?:her|his) name or the time`, w.addressesShowNothing)
	s.step(`no address of the hop has the session ID or timestamp (?:she|he) carried`, w.addressesHaveNoToken)
	s.step(`the references are all different and follow no order`, w.referencesDiffer)
	s.step(`inside the farm (server \d+|the service) did "([\w-]+)" before "([\w-]+)"`, w.partDidBefore)
	s.step(`inside the farm server (\d+) did "([\w-]+)" at server (\d+) before the browser arrived`, w.partDidAtBeforeArrival)
	s.step(`the stored sessions are noted`, w.noteRows)
	s.step(`the stored sessions of (\w+) are as before`, w.rowsAsBefore)
}

// random is the scenario's own stream, fixed by the judge's seed.
func (w *world) random() *rand.Rand {
	if w.handoff.rand == nil {
		h := fnv.New64a()
		_, _ = h.Write([]byte(w.of.id().Scenario))
		w.handoff.rand = rand.New(rand.NewPCG(w.judge.Seed, h.Sum64()))
	}
	return w.handoff.rand
}

// handed is the fingerprint of a page asked at its holder with a hand-off.
func handed(p farmspec.Page) string {
	return "GET " + p.Path + " at " + p.Member + " with a hand-off"
}

// witnessHandoff has the bystander make a hop to the page, if nobody was
// served it by a hand-off in this scenario.
func (w *world) witnessHandoff(ctx context.Context, page farmspec.Page) error {
	if _, ok := w.witnessed[handed(page)]; ok {
		return nil
	}
	g, err := w.signedIn(ctx, bystander)
	if err != nil {
		return err
	}
	if g.at.Name == page.Member {
		i := slices.IndexFunc(w.target.Members, func(m farmspec.Member) bool { return m.Name != page.Member })
		if i < 0 {
			return &failedControl{"no witness: there is no other server to come from"}
		}
		if err := w.needServed(w.hop(ctx, g, w.home(w.target.Members[i]))); err != nil {
			return err
		}
	}
	a := w.hop(ctx, g, page)
	if err := w.needServed(a); err != nil {
		return err
	}
	w.witnessed[handed(page)] = w.number(a.final())
	return nil
}

// param is one parameter of a query, decoded.
type param struct{ name, value string }

// query reads the parameters of an address in order. What does not decode
// stays as it is.
func query(address string) []param {
	_, raw, ok := strings.Cut(address, "?")
	if !ok {
		return nil
	}
	raw, _, _ = strings.Cut(raw, "#")
	var out []param
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		for _, s := range []*string{&name, &value} {
			if decoded, err := url.QueryUnescape(*s); err == nil {
				*s = decoded
			}
		}
		out = append(out, param{name, value})
	}
	return out
}

// isHandoff reports whether a parameter is the farm's own for the hand-off.
func (w *world) isHandoff(p param) bool {
	h := w.target.HandoffParams
	return p.name != "" && (p.name == h.ID || p.name == h.Timestamp || p.name == h.Sealed)
}

// handoffIn are the hand-off parameters of an address.
func (w *world) handoffIn(address string) []param {
	return slices.DeleteFunc(query(address), func(p param) bool { return !w.isHandoff(p) })
}

// handoffs counts the hand-offs of an address: how often its most frequent
// parameter is there.
func (w *world) handoffs(address string) int {
	count, most := map[string]int{}, 0
	for _, p := range w.handoffIn(address) {
		count[p.name]++
		most = max(most, count[p.name])
	}
	return most
}

// withParams appends parameters to an address.
func withParams(address string, params []param) string {
	for _, p := range params {
		join := "?"
		if strings.Contains(address, "?") {
			join = "&"
		}
		address += join + url.QueryEscape(p.name) + "=" + url.QueryEscape(p.value)
	}
	return address
}

// exchanges are those of an attempt; none where it could not be made.
func (a *attempt) exchanges() []*farmspec.Exchange {
	if a.visit == nil {
		return nil
	}
	return a.visit.Exchanges
}

// issued reports whether an answer sends the browser on with a hand-off, or
// to another server for anything but logging in.
func (w *world) issued(x *farmspec.Exchange) bool {
	to := x.Location()
	if to == "" {
		return false
	}
	if len(w.handoffIn(to)) > 0 {
		return true
	}
	from, ok := w.target.MemberOf(x.URL)
	m, okay := w.target.MemberOf(to)
	return ok && okay && from.Name != m.Name && !strings.HasPrefix(to, m.At(w.target.Login.Path))
}

func (w *world) redirectedAndAnswered(first, second int) error {
	a := w.acts.attempt
	m1, err := w.member(first)
	if err != nil {
		return err
	}
	m2, err := w.member(second)
	if err != nil {
		return err
	}
	sent := slices.ContainsFunc(a.exchanges(), func(x *farmspec.Exchange) bool {
		from, _ := w.target.MemberOf(x.URL)
		to, ok := w.target.MemberOf(x.Location())
		return from.Name == m1.Name && ok && to.Name == m2.Name
	})
	by, _ := w.target.MemberOf(a.final().URL)
	return w.expect(sent && by.Name == m2.Name, a.final(),
		fmt.Sprintf("%s redirects to %s, which answers with the page", m1.Name, m2.Name),
		fmt.Sprintf("redirected: %s; the page came from %s", yesNo(sent), by.Name))
}

// stopsAtRedirect makes the first half of a hop: the browser asks, keeps what
// cookies the answer brings, and does not follow.
func (w *world) stopsAtRedirect(ctx context.Context, name string, first int, kind string, second int) error {
	p, m, page, err := w.asking(ctx, name, first, kind, second)
	if err != nil {
		return err
	}
	if err := w.goTo(ctx, p, m); err != nil {
		return err
	}
	x := p.browser.Send(ctx, farmspec.Request{URL: m.At(page.Path), Dest: "document", KeepCookies: true})
	a := w.judged(&farmspec.Visit{Exchanges: []*farmspec.Exchange{x}}, x.Err, p, page, asked(m, page))
	w.acts.attempt = a
	if x.Location() == "" {
		return &failedControl{fmt.Sprintf("%s asks %s for a page of %s and is not redirected: %s", name, m.Name, page.Member, a.describe())}
	}
	if w.handoff.redirects == nil {
		w.handoff.redirects, w.handoff.pages = map[string]*farmspec.Exchange{}, map[string]farmspec.Page{}
	}
	w.handoff.redirects[name], w.handoff.pages[name] = x, page
	for _, h := range w.handoffIn(x.Location()) {
		w.keepSecret(h.value)
	}
	return ctx.Err()
}

// goTo brings a person's newest token to a member where each host has a
// cookie of its own and she has none there.
func (w *world) goTo(ctx context.Context, p *person, m farmspec.Member) error {
	if w.target.Topology != farmspec.SplitDomain || p.at.Name == m.Name {
		return nil
	}
	return w.needServed(w.hop(ctx, p, w.home(m)))
}

func (w *world) stopsManyTimes(ctx context.Context, name string, first int, kind string, second, times int) error {
	for range times {
		if err := w.stopsAtRedirect(ctx, name, first, kind, second); err != nil {
			return err
		}
		for _, h := range w.handoffIn(w.handoff.redirects[name].Location()) {
			w.handoff.refs = append(w.handoff.refs, h.value)
		}
	}
	return nil
}

// stopped is where somebody stopped.
func (w *world) stopped(name string) (string, farmspec.Page, error) {
	x, ok := w.handoff.redirects[name]
	if !ok {
		return "", farmspec.Page{}, fmt.Errorf("find %s's hand-off: nobody of that name stopped at a redirect", name)
	}
	return x.Location(), w.handoff.pages[name], nil
}

func (w *world) followsRedirect(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	to, page, err := w.stopped(name)
	if err != nil {
		return err
	}
	a := w.open(ctx, p.browser, p, to, page, handed(page))
	if a.outcome == farmspec.Accepted {
		p.at, _ = w.target.Member(page.Member)
		w.keepToken(p, p.at)
	}
	p.last, w.acts.attempt = a, a
	return ctx.Err()
}

func (w *world) redirectIsTemporary() error {
	x := w.acts.attempt.final()
	ok := x.Status == http.StatusFound || x.Status == http.StatusSeeOther || x.Status == http.StatusTemporaryRedirect
	return w.expect(ok, x, "a redirect with status 302, 303 or 307 (RFC 9110, 15.4)", fmt.Sprintf("status %d", x.Status))
}

func (w *world) reportNamesProduct() error {
	info := w.judge.describe(w.target)
	if info.Artefact == "" {
		return &unseen{"the target's description has no digest of the program (product.artefact), so it does not say what was judged"}
	}
	ok := info.Product != "" && info.Version != ""
	return w.expect(ok, nil, "product, version and artefact in the report",
		fmt.Sprintf("product %q, version %q, artefact %q", info.Product, info.Version, info.Artefact))
}

func (w *world) serviceStillVerifies(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	t, err := w.plain(p.current())
	if err != nil {
		return err
	}
	err = w.hooks.Service.Verify(ctx, p.at.Name, t)
	return w.expect(err == nil, w.acts.attempt.final(), "the token is as good as before the redirect", fmt.Sprintf("verified: %s", yesNo(err == nil)))
}

// postsByWayOf posts, at the first server, what the application's own page
// would post at the second.
func (w *world) postsByWayOf(ctx context.Context, name string, second, first int) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	m1, err := w.member(first)
	if err != nil {
		return err
	}
	m2, err := w.member(second)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(w.target.Apps, func(a farmspec.App) bool { return a.Member == m2.Name })
	if i < 0 {
		return &notOffered{m2.Name + " holds no application"}
	}
	app := w.target.Apps[i]
	page := farmspec.Page{Member: app.Member, Kind: farmspec.HTML, Path: app.Path, Marker: app.Marker, Echo: true}
	shown := w.hop(ctx, p, page)
	if err := w.needServed(shown); err != nil {
		return err
	}
	i = slices.IndexFunc(farmspec.Forms(shown.final()), func(f farmspec.Form) bool { return f.Has(app.Field) })
	if i < 0 {
		return &failedControl{"the application's page has no form to post"}
	}
	if err := w.goTo(ctx, p, m1); err != nil {
		return err
	}
	// The same form on a page of the first server, which posts there.
	var form strings.Builder
	fmt.Fprintf(&form, `<form method="post" action=%q>`, m1.At(app.Path))
	for _, f := range farmspec.Forms(shown.final())[i].Fields {
		fmt.Fprintf(&form, `<input type="hidden" name="%s" value="%s">`, f.Name, f.Value)
	}
	form.WriteString("</form>")
	from := *shown.final()
	from.URL, from.Body = m1.At(w.home(m1).Path), []byte(form.String())
	w.handoff.query = "posted" + strconv.Itoa(w.random().IntN(1e6))
	visit, err := p.browser.Submit(ctx, &farmspec.Visit{Exchanges: []*farmspec.Exchange{&from}}, "0", map[string]string{app.Field: w.handoff.query})
	w.acts.attempt = w.judged(visit, err, p, page, "POST "+app.Path+" at "+m1.Name)
	if w.acts.attempt.outcome == farmspec.Accepted {
		p.at = m2
	}
	w.keepToken(p, p.at)
	p.last = w.acts.attempt
	return ctx.Err()
}

func (w *world) rememberedOrRefused(ctx context.Context) error {
	posted := w.acts.attempt
	for _, x := range posted.exchanges() {
		if _, ok := w.target.MemberOf(x.URL); !ok && x.RequestBody != "" {
			return w.expect(false, x, "a post that goes to servers of the farm alone", "it was sent elsewhere")
		}
	}
	const expected = "the posted value is remembered, or the answer says that it was not"
	if posted.outcome != farmspec.Accepted {
		ok := posted.outcome == farmspec.Refused
		return w.expect(ok, posted.final(), expected, posted.describe())
	}
	for _, p := range w.people {
		if p.last != posted {
			continue
		}
		again := w.visit(ctx, p, p.at, posted.page)
		if err := w.needServed(again); err != nil {
			return err
		}
		kept := strings.Contains(string(again.final().Body), w.handoff.query)
		return w.expect(kept, posted.final(), expected, "the page was shown as if all were well; remembered: "+yesNo(kept))
	}
	return fmt.Errorf("look for what was posted: nobody posted")
}

// decodings are a text and what the usual encodings make of it, three deep.
func decodings(s string) [][]byte {
	seen := map[string]bool{s: true}
	out := [][]byte{[]byte(s)}
	for i, from := 0, 0; i < 3; i++ {
		to := len(out)
		for _, b := range out[from:to] {
			for _, d := range decode(string(b)) {
				if len(d) > 0 && !seen[string(d)] {
					seen[string(d)] = true
					out = append(out, d)
				}
			}
		}
		from = to
	}
	return out
}

// decode tries each usual encoding on a text, on its halves up to a dot or
// another separator, as signed cookies have them, too. Some are compressed
// before they are encoded.
func decode(s string) (out [][]byte) {
	if z, err := zlib.NewReader(strings.NewReader(s)); err == nil {
		if d, err := io.ReadAll(io.LimitReader(z, farmspec.MaxBody)); err == nil {
			out = append(out, d)
		}
	}
	parts := append(strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(".|:!~,; ", r) }), s)
	for _, part := range parts {
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			if d, err := e.DecodeString(part); err == nil {
				out = append(out, d)
			}
		}
		if d, err := hex.DecodeString(part); err == nil {
			out = append(out, d)
		}
		if d, err := url.QueryUnescape(part); err == nil && d != part {
			out = append(out, []byte(d))
		}
	}
	return out
}

// shows says what of a person or of the present time can be read in the text,
// or "". Numbers count within a day of now, in seconds or milliseconds, as
// digits or as eight bytes.
func (w *world) shows(text, user string) string {
	now := w.now()
	near := func(t time.Time) bool { return t.Sub(now).Abs() < 24*time.Hour }
	for _, b := range decodings(text) {
		if user != "" && strings.Contains(strings.ToLower(string(b)), strings.ToLower(user)) {
			return "the user's name"
		}
		for _, digits := range strings.FieldsFunc(string(b), func(r rune) bool { return !unicode.IsDigit(r) }) {
			n, err := strconv.ParseInt(digits, 10, 64)
			if err == nil && (near(time.Unix(n, 0)) || near(time.UnixMilli(n))) {
				return "the time, in digits"
			}
		}
		for i := 0; i+8 <= len(b); i++ {
			for _, order := range []binary.ByteOrder{binary.BigEndian, binary.LittleEndian} {
				n := int64(order.Uint64(b[i:]))
				if n > 0 && (near(time.UnixMilli(n)) || n < 1<<34 && near(time.Unix(n, 0))) {
					return "the time, in bytes"
				}
			}
		}
	}
	return ""
}

func (w *world) decodingsShowNothing() error {
	a := w.acts.attempt
	for _, s := range w.rotate.walk {
		if what := w.shows(s.after.value, s.user); what != "" {
			return w.expect(false, s.final(), "nothing readable in a token", "decoded, it shows "+what)
		}
	}
	return w.expect(true, a.final(), "nothing readable in a token", fmt.Sprintf("%d tokens show neither name nor time", len(w.rotate.walk)))
}

func (w *world) tokensShareNothing() error {
	w.rotate.sealed = nil
	for _, s := range w.rotate.walk {
		w.rotate.sealed = append(w.rotate.sealed, s.after.value)
	}
	return w.sealingsDiffer()
}

// altered changes one character to another of its alphabet, in its high bits,
// so that what it decodes to changes wherever it stands.
func altered(s string, i int) string {
	const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	const hexes = "0123456789abcdef"
	c := s[i]
	switch {
	case strings.Trim(s, "0123456789") == "":
		c = '0' + (c-'0'+5)%10
	case strings.Trim(s, hexes) == "":
		c = hexes[strings.IndexByte(hexes, c)^8]
	case strings.IndexByte(base64url, c) >= 0:
		c = base64url[strings.IndexByte(base64url, c)^32]
	default:
		c = 'x'
	}
	return s[:i] + string(c) + s[i+1:]
}

// unpadded is a token without the padding of its encoding. Decoders may stop
// there (RFC 4648, section 3.3), so what is done to the padding, or behind it,
// leaves the token what it was.
func unpadded(s string) string {
	for _, pad := range []string{"=", "%3D", "%3d"} {
		for len(s) > len(pad) && strings.HasSuffix(s, pad) {
			s = strings.TrimSuffix(s, pad)
		}
	}
	return s
}

// alterations changes a text at n places spread over it, first and last among
// them but for padding, one at a time.
func alterations(s string, n int) []string {
	last := len(unpadded(s)) - 1
	n = min(n, last+1)
	var out []string
	for k := range n {
		i := 0
		if n > 1 {
			i = k * last / (n - 1)
		}
		out = append(out, altered(s, i))
	}
	return out
}

// like draws a text of the same length from the same alphabet: one that the
// farm might have made, as far as its characters tell.
func (w *world) like(s string) string {
	alphabet := ""
	for _, part := range []string{"0123456789", "abcdef", "ghijklmnopqrstuvwxyz", "ABCDEF", "GHIJKLMNOPQRSTUVWXYZ", "-", "_"} {
		if strings.ContainsAny(s, part) {
			alphabet += part
		}
	}
	if alphabet == "" {
		alphabet = "0123456789"
	}
	b := make([]byte, len(s))
	for i := range b {
		b[i] = alphabet[w.random().IntN(len(alphabet))]
	}
	return string(b)
}

// neverIssued is a plain token of the right form.
func (w *world) neverIssued() farmspec.PlainToken {
	return farmspec.PlainToken{ID: w.like(strings.Repeat("a1", 16)), Timestamp: w.now().UnixMilli()}
}

// unsealed are spellings of a token by somebody who has no key.
func (w *world) unsealed() []string {
	t := w.neverIssued()
	raw, _ := hex.DecodeString(t.ID)
	raw = binary.BigEndian.AppendUint64(raw, uint64(t.Timestamp))
	b64 := base64.RawURLEncoding.EncodeToString
	out := []string{t.ID, fmt.Sprintf("%s.%d", t.ID, t.Timestamp), b64(raw), hex.EncodeToString(raw)}
	for _, names := range [][2]string{{"id", "timestamp"}, {"id", "ts"}, {"sid", "ts"}, {"session_id", "timestamp"}} {
		out = append(out, b64(fmt.Appendf(nil, `{"%s":"%s","%s":%d}`, names[0], t.ID, names[1], t.Timestamp)))
	}
	return out
}

// cookies turns the words of a step into what is presented: for each attempt
// the values of the carrier, none for no cookie at all.
func (w *world) cookies(ctx context.Context, what string) (values [][]string, owner *person, err error) {
	name, rest, ok := strings.Cut(what, "'s ")
	if i := strings.LastIndex(name, " "); ok && i >= 0 { // "a changed one and Ada's token"
		rest, name = name[:i+1]+"…'s "+rest, name[i+1:]
	}
	if owner, err = w.ownerOf(ctx, name, ok); err != nil {
		return nil, nil, err
	}
	one := func(v ...string) [][]string {
		var out [][]string
		for _, s := range v {
			out = append(out, []string{s})
		}
		return out
	}
	token := owner.current().value
	if token == "" {
		return nil, nil, &failedControl{owner.name + " carries no token"}
	}
	if !ok {
		rest = what
	}
	var n int
	switch {
	case rest == "no token":
		values = [][]string{nil}
	case rest == "an empty token":
		values = one("")
	case rest == "a random token":
		values = one(w.like(token))
	case rest == "an unsealed token":
		values = one(w.unsealed()...)
	case rest == "an oversized token":
		values = one(strings.Repeat(token, 8<<10/len(token)+1))
	case rest == "token", rest == "current token", rest == "last token":
		values = one(token)
	case rest == "first token":
		t, err := owner.token("first")
		if err != nil {
			return nil, nil, err
		}
		values = one(t.value)
	case rest == "token changed":
		values = one(alterations(token, 3)...)
	case rest == "token cut short":
		u := unpadded(token)
		values = one(u[:len(u)-1], u[:len(u)/2])
	case rest == "token lengthened":
		u := unpadded(token)
		values = one(u+"A"+token[len(u):], u+token)
	case rest == "token and a changed one":
		values = [][]string{{token, altered(token, len(token)/2)}}
	case rest == "a changed one and …'s token":
		values = [][]string{{altered(token, len(token)/2), token}}
	case rest == "hand-off as a token":
		to, _, err := w.stopped(owner.name)
		if err != nil {
			return nil, nil, err
		}
		for _, h := range w.handoffIn(to) {
			values = append(values, []string{h.value})
		}
	case rest == "a token never issued":
		v, err := w.seal(w.neverIssued())
		return one(v), owner, err
	case rest == "token sealed under another key":
		t, err := w.plain(owner.current())
		if err != nil {
			return nil, nil, err
		}
		v, err := w.hooks.Keys.SealForeign(t)
		if err != nil {
			return nil, nil, fmt.Errorf("seal under another key: %w", err)
		}
		values = one(v)
	case rest == "token sealed again one millisecond later", rest == "token sealed again one millisecond earlier":
		t, err := w.plain(owner.current())
		if err != nil {
			return nil, nil, err
		}
		t.Timestamp += map[bool]int64{true: 1, false: -1}[strings.HasSuffix(rest, "later")]
		v, err := w.seal(t)
		return one(v), owner, err
	default:
		if _, err := fmt.Sscanf(rest, "token changed at %d places", &n); err != nil || n < 1 {
			return nil, nil, fmt.Errorf("present %q: no such thing", what)
		}
		values = one(alterations(token, n)...)
	}
	return values, owner, nil
}

func (w *world) seal(t farmspec.PlainToken) (string, error) {
	w.keepSecret(t.ID)
	v, err := w.hooks.Keys.Seal(t)
	if err != nil {
		return "", fmt.Errorf("seal with the farm's key: %w", err)
	}
	return v, nil
}

// ownerOf is whose page would be shown: the person named, or whoever signed
// in first where nobody is.
func (w *world) ownerOf(ctx context.Context, name string, named bool) (*person, error) {
	if named {
		return w.person(ctx, name)
	}
	for _, n := range []string{"Ada", "Ben", "Mallory"} {
		if p := w.people[n]; p != nil && len(p.tokens) > 0 {
			return p, nil
		}
	}
	return w.signedIn(ctx, bystander)
}

func (w *world) presentsFor(ctx context.Context, who, what string, first int, kind string, second int) error {
	m, err := w.member(first)
	if err != nil {
		return err
	}
	page, err := w.pageOn(kind, second)
	if err != nil {
		return err
	}
	return w.presentCookies(ctx, who, what, m, page)
}

func (w *world) presentsToEvery(ctx context.Context, who, what string) error {
	for _, m := range w.target.Members {
		if err := w.presentCookies(ctx, who, what, m, w.home(m)); err != nil {
			return err
		}
	}
	return nil
}

// presentCookies asks a member for a page with each thing the words stand for,
// each in a browser that has nothing else.
func (w *world) presentCookies(ctx context.Context, who, what string, m farmspec.Member, page farmspec.Page) error {
	if err := w.witness(ctx, m, page); err != nil {
		return err
	}
	values, owner, err := w.cookies(ctx, what)
	if err != nil {
		return err
	}
	for _, v := range values {
		b := w.newBrowser(who)
		for _, s := range v {
			w.keepSecret(s)
		}
		var a *attempt
		if len(v) == 1 && v[0] != "" && len(v[0]) < 2<<10 {
			w.give(b, carried{value: v[0], domain: owner.current().domain, path: owner.current().path}, m)
			a = w.open(ctx, b, owner, m.At(page.Path), page, asked(m, page))
		} else {
			// What no browser would keep, on the wire as it is.
			var pairs []string
			for _, s := range v {
				pairs = append(pairs, w.target.Carrier.Name+"="+s)
			}
			x := b.Send(ctx, farmspec.Request{URL: m.At(page.Path), Dest: "document", RawCookie: strings.Join(pairs, "; "), KeepCookies: true})
			a = w.judged(&farmspec.Visit{Exchanges: []*farmspec.Exchange{x}}, x.Err, owner, page, asked(m, page))
			a.browser = b
		}
		w.handoff.tries = append(w.handoff.tries, a)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// refusesAll judges the attempts made since the last such Then.
func (w *world) refusesAll(ctx context.Context) error {
	tries := w.handoff.tries
	if len(tries) == 0 {
		return fmt.Errorf("judge the attempts: nobody made any")
	}
	w.handoff.tries = nil
	w.handoff.refused = append(w.handoff.refused, tries...)
	for _, a := range tries {
		if err := w.mustRefuse(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) refusesAllWithoutHandoff(ctx context.Context) error {
	for _, a := range w.handoff.tries {
		for _, x := range a.exchanges() {
			if w.issued(x) {
				to, _ := w.target.MemberOf(x.Location())
				return w.expect(false, x, "no hand-off for a token that does not open", "the browser was sent on to "+to.Name)
			}
		}
	}
	return w.refusesAll(ctx)
}

// look is what a refusal shows beyond its text.
type look struct {
	status  int
	headers string
	leads   string
	size    int
}

func (w *world) lookOf(x *farmspec.Exchange) look {
	l := look{status: x.Status, size: len(x.Body)}
	var names []string
	for name := range x.Header {
		if name != "Date" {
			names = append(names, name)
		}
	}
	for _, c := range x.SetCookies() {
		names = append(names, "cookie "+c.Name)
	}
	slices.Sort(names)
	l.headers = strings.Join(names, ", ")
	if u, err := url.Parse(x.Location()); err == nil && x.Location() != "" {
		l.leads = u.Path
		if w.target.Carrier.Kind == "path" { // whose value is another each time
			l.leads, _, _ = strings.Cut(u.Path, ";")
		}
		for _, p := range query(x.Location()) {
			l.leads += " " + p.name
		}
	}
	return l
}

// sameSize reports whether two bodies are of one size class: within a
// twentieth of each other. A page may show a number or a secret of its own.
func sameSize(a, b int) bool {
	return 20*max(a-b, b-a) <= max(a, b) || max(a, b) <= 400
}

// refusalsLookAlike compares the first answers: status, header names, where a
// redirect leads, and size, which may differ by a twentieth (D22).
func (w *world) refusalsLookAlike() error {
	if len(w.handoff.refused) < 2 {
		return fmt.Errorf("compare refusals: there are %d", len(w.handoff.refused))
	}
	first := w.lookOf(w.handoff.refused[0].visit.Exchanges[0])
	const expected = "refusals for different reasons that look alike"
	for _, a := range w.handoff.refused[1:] {
		l := w.lookOf(a.visit.Exchanges[0])
		differs := ""
		switch {
		case l.status != first.status:
			differs = fmt.Sprintf("status %d and %d", first.status, l.status)
		case l.headers != first.headers:
			differs = fmt.Sprintf("headers %s and %s", first.headers, l.headers)
		case l.leads != first.leads:
			differs = fmt.Sprintf("they lead to %s and %s", first.leads, l.leads)
		case !sameSize(l.size, first.size):
			differs = fmt.Sprintf("sizes %d and %d", first.size, l.size)
		}
		if differs != "" {
			return w.expect(false, a.final(), expected, differs)
		}
	}
	return w.expect(true, w.handoff.refused[0].final(), expected, fmt.Sprintf("%d refusals are alike", len(w.handoff.refused)))
}

func (w *world) idleTimeoutIsOver(ctx context.Context) error {
	return w.pass(ctx, w.target.Limits.Idle+w.margin())
}

func (w *world) handoffNamesToken(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	carries, err := w.plain(p.current())
	if err != nil {
		return err
	}
	to, _, err := w.stopped(name)
	if err != nil {
		return err
	}
	got, err := w.target.TokenIn(to)
	return w.expect(err == nil && got == carries, w.handoff.redirects[name], "the hand-off to be what the token opens to", "equal: "+yesNo(got == carries))
}

// sentTo is the address to which a member sent the browser in the last attempt.
func (w *world) sentTo(server int) (*farmspec.Exchange, error) {
	m, err := w.member(server)
	if err != nil {
		return nil, err
	}
	for _, x := range w.acts.attempt.exchanges() {
		if from, _ := w.target.MemberOf(x.URL); from.Name == m.Name && x.Location() != "" {
			return x, nil
		}
	}
	return nil, w.expect(false, w.acts.attempt.final(), "a redirect by "+m.Name, "there was none")
}

func (w *world) addressHasOneHandoff(server int) error {
	x, err := w.sentTo(server)
	if err != nil {
		return err
	}
	n, whole := w.handoffs(x.Location()), true
	for _, name := range []string{w.target.HandoffParams.ID, w.target.HandoffParams.Timestamp, w.target.HandoffParams.Sealed} {
		if name != "" && !slices.ContainsFunc(w.handoffIn(x.Location()), func(p param) bool { return p.name == name && p.value != "" }) {
			whole = false
		}
	}
	return w.expect(n == 1 && whole, x, "one whole hand-off in the address", fmt.Sprintf("%d in it; whole: %s", n, yesNo(whole)))
}

func (w *world) asksWithQuery(ctx context.Context, name string, first int, kind string, second int, q string) error {
	p, m, page, err := w.asking(ctx, name, first, kind, second)
	if err != nil {
		return err
	}
	w.handoff.query = q
	a := w.open(ctx, p.browser, p, m.At(page.Path)+"?"+q, page, asked(m, page))
	if a.outcome == farmspec.Accepted {
		p.at, _ = w.target.Member(page.Member)
	}
	w.keepToken(p, p.at)
	p.last, w.acts.attempt = a, a
	return ctx.Err()
}

func (w *world) asksWithLongQuery(ctx context.Context, name string, first int, kind string, second, length int) error {
	return w.asksWithQuery(ctx, name, first, kind, second, "long="+w.like(strings.Repeat("Zz", length/2)))
}

func (w *world) asksWithHandoff(ctx context.Context, name string, first int, kind string, second int, whose string) error {
	to, _, err := w.stopped(whose)
	if err != nil {
		return err
	}
	_, q, _ := strings.Cut(withParams("", w.handoffIn(to)), "?")
	return w.asksWithQuery(ctx, name, first, kind, second, q)
}

// askedWithQuery compares parameters as they decode, in order.
func (w *world) askedWithQuery(server int) error {
	m, err := w.member(server)
	if err != nil {
		return err
	}
	x := w.acts.attempt.final()
	by, _ := w.target.MemberOf(x.URL)
	got := slices.DeleteFunc(query(x.URL), w.isHandoff)
	want := query("?" + w.handoff.query)
	n := w.handoffs(x.URL)
	return w.expect(by.Name == m.Name && slices.Equal(got, want) && n <= 1, x,
		fmt.Sprintf("%s is asked with the query as it was, and at most one hand-off", m.Name),
		fmt.Sprintf("%s was asked; query whole: %s; hand-offs: %d", by.Name, yesNo(slices.Equal(got, want)), n))
}

func (w *world) nobodyElseShown(ctx context.Context, name string, server int) error {
	m, err := w.member(server)
	if err != nil {
		return err
	}
	a := w.acts.attempt
	most := 0
	for _, x := range a.exchanges() {
		if at, _ := w.target.MemberOf(x.URL); at.Name == m.Name {
			most = max(most, w.handoffs(x.URL))
		}
	}
	ok := (a.outcome == farmspec.Accepted || a.outcome == farmspec.Refused) && most <= 1
	return w.expect(ok, a.final(), fmt.Sprintf("%s's page or a refusal, and %s asked with at most one hand-off", name, m.Name),
		fmt.Sprintf("%s; hand-offs: %d", a.describe(), most))
}

func (w *world) addressesShowNothing() error {
	a := w.acts.attempt
	for _, x := range a.exchanges() {
		for _, address := range []string{x.URL, x.Location()} {
			what := ""
			for _, p := range query(address) {
				if what = w.shows(p.value, a.user); what != "" {
					break
				}
			}
			for _, p := range w.people {
				for _, t := range p.tokens {
					if strings.Contains(address, t.value) {
						what = "an encrypted token"
					}
				}
			}
			if what != "" {
				return w.expect(false, x, "addresses that show nothing of the token", "one shows "+what)
			}
		}
	}
	return w.expect(true, a.final(), "addresses that show nothing of the token", "none does")
}

func (w *world) addressesHaveNoToken(ctx context.Context) error {
	a := w.acts.attempt
	t, err := w.plain(a.held)
	if a.held.value == "" { // the token was at the first server's host alone
		p, _ := w.person(ctx, a.who)
		t, err = w.plain(p.tokens[len(p.tokens)-2])
	}
	if err != nil {
		return err
	}
	raw, _ := hex.DecodeString(t.ID)
	for _, x := range a.exchanges() {
		for _, address := range []string{x.URL, x.Location()} {
			for _, p := range query(address) {
				for _, b := range decodings(p.value) {
					s := string(b)
					if strings.Contains(strings.ToLower(s), t.ID) || strings.Contains(s, string(raw)) || strings.Contains(s, fmt.Sprint(t.Timestamp)) {
						return w.expect(false, x, "no session ID and no timestamp in any address", "one has it")
					}
				}
			}
		}
	}
	return w.expect(true, a.final(), "no session ID and no timestamp in any address", "none has")
}

func (w *world) referencesDiffer() error {
	for _, r := range w.handoff.refs {
		w.keepSecret(r)
	}
	if len(w.handoff.refs) == 0 {
		return &failedControl{"no redirect had a reference"}
	}
	return w.idsDiffer(w.handoff.refs)
}

// did finds the first message of an operation by a part; a request that
// arrives at it counts as its "receive".
func did(msgs []farmspec.Message, part, op string) int {
	return slices.IndexFunc(msgs, func(m farmspec.Message) bool {
		return m.Op == op && m.OK && (m.From == part || op == farmspec.OpReceive && m.To == part)
	})
}

func (w *world) partDidBefore(ctx context.Context, words, op, then string) error {
	part, err := w.part(words)
	if err != nil {
		return err
	}
	msgs, err := w.inside(ctx)
	if err != nil {
		return err
	}
	i, j := did(msgs, part, op), did(msgs, part, then)
	return w.expect(i >= 0 && j > i, w.acts.attempt.final(), fmt.Sprintf("%s did %q before %q", words, op, then),
		fmt.Sprintf("%q: %s; %q: %s; in this order: %s", op, yesNo(i >= 0), then, yesNo(j >= 0), yesNo(i >= 0 && j > i)))
}

func (w *world) partDidAtBeforeArrival(ctx context.Context, first int, op string, second int) error {
	m1, err := w.member(first)
	if err != nil {
		return err
	}
	m2, err := w.member(second)
	if err != nil {
		return err
	}
	msgs, err := w.inside(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(msgs, func(m farmspec.Message) bool {
		return m.From == m1.Name && m.To == m2.Name && m.Op == op && m.OK
	})
	j := did(msgs, m2.Name, farmspec.OpReceive)
	return w.expect(i >= 0 && j > i, w.acts.attempt.final(), fmt.Sprintf("%s did %q at %s before the browser arrived there", m1.Name, op, m2.Name),
		fmt.Sprintf("done: %s; before: %s", yesNo(i >= 0), yesNo(i >= 0 && j > i)))
}

func (w *world) noteRows(ctx context.Context) error {
	if err := w.databaseIsRead(ctx); err != nil {
		return err
	}
	w.handoff.rows = map[string]farmspec.Row{}
	for _, r := range w.rotate.row {
		w.handoff.rows[r.Ref] = r
		w.keepSecret(r.Token.ID)
	}
	return nil
}

func (w *world) rowsAsBefore(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	if err := w.databaseIsRead(ctx); err != nil {
		return err
	}
	compared, differ := 0, 0
	for _, r := range w.rotate.row {
		if r.User != p.user.Name {
			continue
		}
		compared++
		was, ok := w.handoff.rows[r.Ref]
		if !ok || was.Token != r.Token || was.Open != r.Open || was.ClosedAt != r.ClosedAt || len(was.HTTPSessions) != len(r.HTTPSessions) {
			differ++
		}
	}
	had := 0
	for _, r := range w.handoff.rows {
		if r.User == p.user.Name {
			had++
		}
	}
	return w.expect(compared == had && differ == 0 && had > 0, nil, "the stored sessions as they were",
		fmt.Sprintf("%d before, %d now, %d differ", had, compared, differ))
}
