package features

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/farmspec/farmspec"
)

// The steps about what goes over the wire: cookies, addresses, referrers,
// caches, redirects and connections. They look at everything that one person's
// browser sent and was answered, so they fit farms of every kind.

type wireScene struct {
	// who is whose browser is looked at: the last who went everywhere.
	who *person
	// elsewhere is a site that is none of the farm's, once one is needed.
	elsewhere *elsewhere
	// session are the names of cookies that are a session or a part of one,
	// and whether a page opens with it alone, once that was tried.
	session map[string]bool
	// shown are answers that must show nothing of hers.
	shown []*farmspec.Exchange
	// lost are the visits without one of the cookies each, by its name.
	lost []lostCookie
	// plain are answers to requests without TLS, credentials the servers' own.
	plain       []*farmspec.Exchange
	credentials []string
}

type lostCookie struct {
	name  string
	visit *attempt
	again error // why she could not sign in again
}

func (w *world) registerWire(s stepper) {
	s.step(`(\w+) goes everywhere in the farm`, w.goesEverywhere)
	s.step(`every session cookie (.+)`, w.everySessionCookie)
	s.step(`(?:her|his) browser has refused no cookie for its prefix`, w.refusedNoPrefix)
	s.step(`no cookie has more than (\d+) bytes of name and value`, w.noCookieIsLarger)
	s.step(`no page and no address has the value of a session cookie`, w.valueStaysInCookie)
	s.step(`(\w+)'s browser loses its cookies, one name at a time`, w.losesCookies)
	s.step(`each time she is served or refused in order, and can sign in again`, w.lostInOrder)
	s.step(`(?:her|his) browser holds no session cookie of before for that server`, w.holdsNoCookieOfBefore)
	s.step(`going back shows nothing of hers`, w.backShowsNothing)

	s.step(`no address has a token of (?:hers|his)`, w.noAddressHasToken)
	s.step(`(\w+), who has no session, opens every address that (\w+) was at`, w.opensEveryAddress)
	s.step(`nothing of (\w+)'s was shown`, w.nothingOfWasShown)
	s.step(`(\w+) signs in and visits pages by addresses that name another site`, w.byAddressesThatNameAnother)
	s.step(`the farm sent her nowhere but to itself`, w.sentNowhereElse)

	s.step(`(\w+) follows a link from (?:her|his) page to another site`, w.followsLinkOut)
	s.step(`every page of (?:hers|his) sets a policy for referrers`, w.pagesSetReferrerPolicy)
	s.step(`the other site learns no more than the host`, w.otherSiteLearnsHost)
	s.step(`the other site learns nothing of where she comes from`, w.otherSiteLearnsNothing)

	s.step(`no browser may keep a page of (?:hers|his)`, w.noBrowserKeepsPages)
	s.step(`no shared cache may use an answer again that brought a session cookie`, w.noCacheKeepsTokens)

	s.step(`(\w+)'s tokens are sent to every server without TLS`, w.tokensSentPlain)
	s.step(`none of these requests was served or got a session cookie`, w.nothingServedPlain)
	s.step(`no address of the farm among them is without TLS`, w.noAddressIsPlain)
	s.step(`every server tells (?:her|his) browser to come over TLS only`, w.everyServerTellsTLS)
	s.step(`a server's calls are made to the session service without TLS`, w.callsWithoutTLS)
	s.step(`none of them is answered by the service`, w.noCallAnswered)
	s.step(`the servers' credentials for the session service are compared`, w.compareCredentials)
	s.step(`no two servers have the same one, and all differ from none`, w.credentialsDiffer)
}

// goesEverywhere visits the page and the applications of every server, and
// then two more pages, so that what came by way of another server is neither
// the newest token nor the one before it.
func (w *world) goesEverywhere(ctx context.Context, name string) error {
	p, err := w.signedIn(ctx, name)
	if err != nil {
		return err
	}
	w.wire.who = p
	var pages []farmspec.Page
	for _, m := range w.target.Members {
		pages = append(pages, w.home(m))
	}
	for _, a := range w.target.Apps {
		pages = append(pages, appPage(a))
	}
	for _, page := range pages {
		if err := w.needServed(w.hop(ctx, p, page)); err != nil {
			return err
		}
	}
	for range 2 {
		if err := w.needServed(w.visit(ctx, p, p.at, w.home(p.at))); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// seenBy are all exchanges of a person's own browser, in order.
func (w *world) seenBy(p *person) []*farmspec.Exchange {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []*farmspec.Exchange
	for _, r := range w.exchanges {
		if r.Browser == p.browser.Name() && r.Err == nil {
			all = append(all, r.Exchange)
		}
	}
	return all
}

// pagesOf are the answers with a page of the person's own.
func (w *world) pagesOf(p *person) []*farmspec.Exchange {
	return slices.DeleteFunc(w.seenBy(p), func(x *farmspec.Exchange) bool {
		return x.Status/100 != 2 || !strings.Contains(string(x.Body), w.target.Echo(p.user.Name))
	})
}

// given is a session cookie that an answer gave a browser.
type given struct {
	*http.Cookie
	by *farmspec.Exchange
}

// sessionNames are the carrier and those companions that are a session, or a
// part of one, too: a page opens with it alone, or does not without it. A
// cookie against forged forms is neither. The bystander is who tries. Where
// tokens rotate, to go without a companion would spend one, and is not tried.
func (w *world) sessionNames(ctx context.Context) (map[string]bool, error) {
	if w.wire.session != nil {
		return w.wire.session, nil
	}
	session := map[string]bool{w.target.Carrier.Name: true}
	if len(w.target.Companions) > 0 {
		g, err := w.signedIn(ctx, bystander)
		if err != nil {
			return nil, err
		}
		page := w.home(g.at)
		with := func(keep func(name string) bool) farmspec.Outcome {
			b := w.newBrowser(bystander)
			for _, c := range g.browser.Snapshot() {
				if keep(c.Name) {
					b.PutCookie(c)
				}
			}
			return w.open(ctx, b, g, g.at.At(page.Path), page, asked(g.at, page)).outcome
		}
		for _, companion := range w.target.Companions {
			if with(func(name string) bool { return name == companion }) == farmspec.Accepted {
				session[companion] = true
			} else if w.target.Rotation == farmspec.NoRotation && with(func(name string) bool { return name != companion }) == farmspec.Refused {
				session[companion] = false
			}
		}
	}
	w.wire.session = session
	return session, ctx.Err()
}

// sessionCookies are the times that a person's browser was given a cookie of
// sessionNames. Cookies that are taken away again do not count.
func (w *world) sessionCookies(ctx context.Context, p *person) ([]given, error) {
	if w.target.Carrier.Kind != "cookie" {
		return nil, &notOffered{"the session travels in addresses and not in a cookie"}
	}
	session, err := w.sessionNames(ctx)
	if err != nil {
		return nil, err
	}
	var all []given
	for _, x := range w.seenBy(p) {
		for _, c := range x.SetCookies() {
			_, ours := session[c.Name]
			gone := c.Value == "" || c.MaxAge < 0 || !c.Expires.IsZero() && c.Expires.Before(w.now())
			if ours && !gone {
				all = append(all, given{c, x})
			}
		}
	}
	if len(all) == 0 {
		return nil, &failedControl{"the farm set no session cookie, so there is none to look at"}
	}
	return all, nil
}

func (w *world) everySessionCookie(ctx context.Context, rule string) error {
	keeps, ok := map[string]func(given) (expected, actual string){
		"is for protected connections only": func(c given) (string, string) {
			return "the attribute Secure", want(c.Secure, "it is not there")
		},
		"has a prefix for protected connections": func(c given) (string, string) {
			return "a name that begins with __Secure- or __Host-", want(hasPrefix(c.Name, "__secure-", "__host-", "__http-"), "it does not")
		},
		"has the prefix that binds it to its host": func(c given) (string, string) {
			return "a name that begins with __Host-", want(hasPrefix(c.Name, "__host-"), "it does not")
		},
		"is closed to scripts": func(c given) (string, string) {
			return "the attribute HttpOnly", want(c.HttpOnly, "it is not there")
		},
		"says whether it goes along with requests of other sites": func(c given) (string, string) {
			return "the attribute SameSite with Strict, Lax or None", want(sameSiteOf(c) != "", "it is not there, or says nothing that browsers know")
		},
		"stays behind when another site posts": func(c given) (string, string) {
			s := sameSiteOf(c)
			return "the attribute SameSite with Strict or Lax", want(s == "Strict" || s == "Lax", "it is "+or(s, "not there"))
		},
		"reaches the farm's hosts and no others": func(c given) (string, string) {
			return "a Domain no wider than the farm", w.tooWide(c)
		},
	}[rule]
	if !ok {
		return fmt.Errorf("look at session cookies: no such rule as %q", rule)
	}
	all, err := w.sessionCookies(ctx, w.wire.who)
	if err != nil {
		return err
	}
	for _, c := range all {
		if expected, actual := keeps(c); actual != "" {
			return w.expect(false, c.by, fmt.Sprintf("%s on the cookie %s", expected, c.Name), actual)
		}
	}
	return w.expect(true, all[0].by, "session cookies, each of which "+rule, fmt.Sprintf("%d of them, set in %d answers", len(names(all)), len(all)))
}

// want is "" where all is well, and else what is wrong.
func want(ok bool, wrong string) string {
	if ok {
		return ""
	}
	return wrong
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func hasPrefix(name string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(strings.ToLower(name), p) })
}

func sameSiteOf(c given) string {
	return map[http.SameSite]string{http.SameSiteLaxMode: "Lax", http.SameSiteStrictMode: "Strict", http.SameSiteNoneMode: "None"}[c.SameSite]
}

func names(all []given) map[string]bool {
	set := map[string]bool{}
	for _, c := range all {
		set[c.Name] = true
	}
	return set
}

// tooWide says which hosts a cookie reaches beyond those of the farm: those
// below one host, where each has a cookie of its own, and those beside the
// longest domain that the hosts have in common, where they share it.
func (w *world) tooWide(c given) string {
	domain := strings.ToLower(strings.TrimPrefix(c.Domain, "."))
	u, err := url.Parse(c.by.URL)
	if domain == "" || err != nil || domain == u.Hostname() && net.ParseIP(domain) != nil {
		return ""
	}
	if w.target.Topology != farmspec.SharedDomain {
		return "Domain=" + domain + " reaches every host below " + domain
	}
	common := w.commonDomain()
	if common != "" && domain != common && !strings.HasSuffix(domain, "."+common) {
		return "Domain=" + domain + " reaches hosts beside those of " + common
	}
	return ""
}

// commonDomain is the longest domain that every member's host is in.
func (w *world) commonDomain() string {
	var common []string
	for i, m := range w.target.Members {
		u, err := url.Parse(m.URL)
		if err != nil {
			return ""
		}
		labels := strings.Split(strings.ToLower(u.Hostname()), ".")
		slices.Reverse(labels)
		if i == 0 {
			common = labels
			continue
		}
		n := 0
		for n < min(len(common), len(labels)) && common[n] == labels[n] {
			n++
		}
		common = common[:n]
	}
	common = slices.Clone(common)
	slices.Reverse(common)
	return strings.Join(common, ".")
}

func (w *world) refusedNoPrefix() error {
	p := w.wire.who
	for _, c := range p.browser.RejectedCookies() {
		if hasPrefix(c.Name, "__host-", "__secure-", "__http-") {
			return w.expect(false, p.last.final(), "a cookie "+c.Name+" that browsers keep", "refused where "+c.URL+" set it: "+c.Reason)
		}
	}
	return w.expect(true, p.last.final(), "no cookie with a prefix that browsers refuse", "none was refused")
}

// noCookieIsLarger counts bytes as ASVS 3.3.5 does, name and value together.
// Browsers leave out what is larger (RFC 6265bis, section 5.6).
func (w *world) noCookieIsLarger(limit int) error {
	seen := 0
	for _, x := range w.seenBy(w.wire.who) {
		for _, line := range x.Header.Values("Set-Cookie") {
			pair, _, _ := strings.Cut(line, ";")
			name, value, _ := strings.Cut(pair, "=")
			name, value = strings.TrimSpace(name), strings.TrimSpace(value)
			seen++
			if n := len(name) + len(value); n > limit {
				return w.expect(false, x, fmt.Sprintf("at most %d bytes of name and value in the cookie %s", limit, name), strconv.Itoa(n))
			}
		}
	}
	return w.expect(true, w.wire.who.last.final(), fmt.Sprintf("at most %d bytes of name and value in every cookie", limit), fmt.Sprintf("none of %d has more", seen))
}

// values are what session cookies held in a person's browser, those that are
// long enough to be found by chance nowhere else.
func (w *world) values(ctx context.Context, p *person) ([]string, error) {
	all, err := w.sessionCookies(ctx, p)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, c := range all {
		if len(c.Value) >= 8 && !slices.Contains(out, c.Value) {
			out = append(out, c.Value)
			w.keepSecret(c.Value)
		}
	}
	return out, nil
}

// address is one that an answer showed, sent to, or answered for.
type address struct {
	url string
	by  *farmspec.Exchange
}

// addresses are where a person's browser was and was sent, and what the pages
// lead to by links and forms. Each comes once.
func (w *world) addresses(p *person) []address {
	var all []address
	seen := map[string]bool{"": true}
	for _, x := range w.seenBy(p) {
		of := append([]string{x.URL, x.Location()}, farmspec.Links(x)...)
		for _, f := range farmspec.Forms(x) {
			of = append(of, f.Action)
		}
		for _, u := range of {
			if !seen[u] {
				seen[u] = true
				all = append(all, address{u, x})
			}
		}
	}
	return all
}

// within reports whether one of the values is in the text, as it is or escaped.
func within(text string, values []string) bool {
	plain, err := url.PathUnescape(text)
	return slices.ContainsFunc(values, func(v string) bool {
		return strings.Contains(text, v) || strings.Contains(text, url.QueryEscape(v)) || err == nil && strings.Contains(plain, v)
	})
}

func (w *world) valueStaysInCookie(ctx context.Context) error {
	p := w.wire.who
	values, err := w.values(ctx, p)
	if err != nil {
		return err
	}
	const expected = "the value of a session cookie in cookies alone"
	for _, a := range w.addresses(p) {
		if within(a.url, values) {
			return w.expect(false, a.by, expected, "it is in an address of this answer")
		}
	}
	for _, x := range w.seenBy(p) {
		if within(string(x.Body), values) {
			return w.expect(false, x, expected, "it is in the body of this answer")
		}
	}
	return w.expect(true, p.last.final(), expected, fmt.Sprintf("%d values are in no page and no address", len(values)))
}

// losesCookies lets a browser forget its cookies by name, as one that needs
// room does, and asks for a page each time. Whoever is out signs in again, and
// what she could do without she gets back.
func (w *world) losesCookies(ctx context.Context, name string) error {
	p, err := w.signedIn(ctx, name)
	if err != nil {
		return err
	}
	w.wire.who = p
	var all []string
	for _, c := range p.browser.AllCookies() {
		if !slices.Contains(all, c.Name) {
			all = append(all, c.Name)
		}
	}
	if len(all) == 0 {
		return &notOffered{"the farm sets no cookie that a browser could lose"}
	}
	slices.Sort(all)
	first := w.target.Members[0] // where she signed in, and has most of them
	for _, lost := range all {
		var gone []farmspec.Cookie
		p.browser.Restore(slices.DeleteFunc(p.browser.Snapshot(), func(c farmspec.Cookie) bool {
			if c.Name == lost {
				gone = append(gone, c)
			}
			return c.Name == lost
		}))
		l := lostCookie{name: lost, visit: w.visit(ctx, p, first, w.home(first))}
		if l.visit.outcome != farmspec.Accepted {
			l.again = w.signIn(ctx, p, first)
		} else if lost != w.target.Carrier.Name { // so that each is lost alone
			for _, c := range gone {
				p.browser.PutCookie(c)
			}
		}
		w.wire.lost = append(w.wire.lost, l)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) lostInOrder() error {
	for _, l := range w.wire.lost {
		x := l.visit.final()
		expected := "without the cookie " + l.name + " she is served, or refused in order"
		broken := slices.ContainsFunc(l.visit.exchanges(), func(x *farmspec.Exchange) bool { return x.Status >= 500 })
		switch {
		case l.visit.outcome != farmspec.Accepted && l.visit.outcome != farmspec.Refused:
			return w.expect(false, x, expected, l.visit.describe())
		case broken:
			return w.expect(false, x, expected, "an error of the server: "+l.visit.describe())
		case redirects(x):
			return w.expect(false, x, expected, "redirects without an end")
		case l.again != nil:
			return w.expect(false, x, "without the cookie "+l.name+" she can sign in again", l.again.Error())
		}
		if err := w.expect(true, x, expected, l.visit.describe()); err != nil {
			return err
		}
	}
	return nil
}

// redirects reports whether a browser would have had to go on from the answer.
func redirects(x *farmspec.Exchange) bool { return x.Location() != "" }

// holdsNoCookieOfBefore looks at the server where the log-out ended: it can
// clear the cookies of its own host.
func (w *world) holdsNoCookieOfBefore(ctx context.Context) error {
	if len(w.ending.logOuts) == 0 {
		return fmt.Errorf("look for cookies after log-out: nobody logged out")
	}
	logOut := w.ending.logOuts[len(w.ending.logOuts)-1]
	out := logOut.Final()
	var who *person
	for _, p := range w.people {
		if p.browser.Name() == out.Browser {
			who = p
		}
	}
	if who == nil {
		return fmt.Errorf("look for cookies after log-out: nobody has the browser %q", out.Browser)
	}
	all, err := w.sessionCookies(ctx, who)
	if err != nil {
		return err
	}
	before := map[string]bool{} // what the log-out itself brings is another session's
	for _, c := range all {
		if c.by.Start.Before(logOut.Exchanges[0].Start) {
			before[c.Name+"="+c.Value] = true
		}
	}
	const expected = "after log-out no session cookie with a value of before"
	for _, c := range who.browser.Cookies(out.URL) {
		if before[c.Name+"="+c.Value] {
			return w.expect(false, out, expected, "the browser still holds "+c.Name)
		}
	}
	return w.expect(true, out, expected, "the browser holds none")
}

// backShowsNothing asks what a browser has kept. One that was told to clear
// its cache has kept nothing (Clear-Site-Data, section 4.2).
func (w *world) backShowsNothing() error {
	p := w.wire.who
	out := w.ending.logOuts
	if len(out) == 0 {
		return fmt.Errorf("go back after log-out: nobody logged out")
	}
	for _, x := range out[len(out)-1].Exchanges {
		told := x.Header.Get("Clear-Site-Data")
		if strings.Contains(told, `"cache"`) || strings.Contains(told, `"*"`) {
			return w.expect(true, x, "nothing of hers behind the back button", "the browser was told to clear its cache")
		}
	}
	pages := w.pagesOf(p)
	for _, x := range pages {
		kept, ok := p.browser.BackForward(x.URL)
		if ok && strings.Contains(string(kept.Body), w.target.Echo(p.user.Name)) {
			return w.expect(false, x, "nothing of hers behind the back button", "the browser has kept this page and shows it")
		}
	}
	return w.expect(true, p.last.final(), "nothing of hers behind the back button", fmt.Sprintf("none of %d pages was kept", len(pages)))
}

func (w *world) noAddressHasToken(ctx context.Context) error {
	p := w.wire.who
	const expected = "no session token in any address"
	var values []string
	for _, t := range p.tokens {
		if len(t.value) >= 8 {
			values = append(values, t.value)
		}
	}
	if w.target.Carrier.Kind == "cookie" {
		more, err := w.values(ctx, p)
		if err != nil {
			return err
		}
		values = append(values, more...)
	}
	all := w.addresses(p)
	for _, a := range all {
		if within(a.url, values) {
			return w.expect(false, a.by, expected, "there is one in an address of this answer")
		}
	}
	return w.expect(true, p.last.final(), expected, fmt.Sprintf("none in %d addresses", len(all)))
}

// mostAddresses bounds how many a stranger tries.
const mostAddresses = 32

// opensEveryAddress goes where a person's browser was, as whoever reads a log
// or a history could, each time with a browser that has nothing.
func (w *world) opensEveryAddress(ctx context.Context, who, whose string) error {
	p, err := w.person(ctx, whose)
	if err != nil {
		return err
	}
	var opened []string
	for _, x := range w.seenBy(p) {
		if x.Method != http.MethodGet || slices.Contains(opened, x.URL) {
			continue
		}
		if opened = append(opened, x.URL); len(opened) > mostAddresses {
			break
		}
		visit, err := w.newBrowser(who).Open(ctx, x.URL)
		if err != nil {
			return fmt.Errorf("open an address that %s was at: %w", whose, err)
		}
		w.wire.shown = append(w.wire.shown, visit.Exchanges...)
	}
	if len(opened) == 0 {
		return &failedControl{whose + " was at no address"}
	}
	return ctx.Err()
}

func (w *world) nothingOfWasShown(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	const expected = "nothing of hers for who has her addresses alone"
	for _, x := range w.wire.shown {
		if strings.Contains(string(x.Body), w.target.Echo(p.user.Name)) {
			return w.expect(false, x, expected, "her page")
		}
	}
	return w.expect(true, nil, expected, fmt.Sprintf("%d answers show nothing of hers", len(w.wire.shown)))
}

// elsewhere is a site on this machine that is none of the farm's. It answers
// everything and remembers who sent what.
type elsewhere struct {
	host string // with the port
	mu   sync.Mutex
	came []http.Header
}

// otherSite opens the site, once for a scenario.
func (w *world) otherSite(ctx context.Context) (*elsewhere, error) {
	if w.wire.elsewhere != nil {
		return w.wire.elsewhere, nil
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open another site: %w", err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	e := &elsewhere{host: "elsewhere.localhost:" + port}
	srv := &http.Server{ReadHeaderTimeout: inTime, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		e.came = append(e.came, r.Header.Clone())
		e.mu.Unlock()
		_, _ = rw.Write([]byte("another site"))
	})}
	done := make(chan struct{})
	go func() { _ = srv.Serve(ln); close(done) }()
	w.onEnd = append(w.onEnd, func() { _ = srv.Close(); <-done })
	w.wire.elsewhere = e
	return e, nil
}

// referred is what the last request to the site said of where it came from.
func (e *elsewhere) referred() (string, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.came) == 0 {
		return "", false
	}
	return e.came[len(e.came)-1].Get("Referer"), true
}

// nextParams are names under which farms take the address to go to afterwards.
var nextParams = []string{"next", "return", "return_to", "returnTo", "returnUrl", "redirect", "redirect_uri", "redirectTo", "url", "continue", "dest", "goto", "target"}

// byAddressesThatNameAnother asks for pages, and logs in, with the address of
// another site wherever the farm might take one to send the browser on to: in
// the parameters and fields in which it put an address itself, and under
// names that are usual for it.
func (w *world) byAddressesThatNameAnother(ctx context.Context, name string) error {
	p, err := w.signedIn(ctx, name)
	if err != nil {
		return err
	}
	w.wire.who = p
	e, err := w.otherSite(ctx)
	if err != nil {
		return err
	}
	page := w.home(p.at)
	for _, there := range []string{"http://" + e.host + "/", "//" + e.host + "/", `/\` + e.host + "/", "/\t/" + e.host + "/"} {
		if p.user.Name != "" && byForm(w.target.Login) {
			for _, from := range []string{p.at.At(page.Path), p.at.At(w.target.Login.Path)} {
				if err := w.logInTowards(ctx, p, from, there); err != nil {
					return err
				}
			}
		}
		// A page whose path is the other site's address, and one with it in its query.
		for _, path := range []string{"/" + strings.TrimPrefix(there, "/"), page.Path + "?" + everyNext(there)} {
			address := p.at.URL + strings.ReplaceAll(path, "\t", "%09")
			x := p.browser.Send(ctx, farmspec.Request{URL: address, Dest: "document", KeepCookies: true})
			w.wire.shown = append(w.wire.shown, x)
			w.keepToken(p, p.at)
		}
	}
	return ctx.Err()
}

func everyNext(there string) string {
	q := url.Values{}
	for _, n := range nextParams {
		q.Set(n, there)
	}
	return q.Encode()
}

// logInTowards opens an address without a session, puts the other site's in
// the place of each address in what the farm makes of it, and logs in.
func (w *world) logInTowards(ctx context.Context, p *person, from, there string) error {
	guest := *p
	guest.browser = w.newBrowser(p.name)
	visit, err := guest.browser.Open(ctx, from)
	if err != nil {
		return fmt.Errorf("ask for a page without a session: %w", err)
	}
	at, err := url.Parse(visit.Final().URL)
	if err != nil || !w.hasLogIn(visit.Final()) {
		return nil // this way leads to no log-in
	}
	q := at.Query()
	for name, values := range q {
		for i, v := range values {
			if strings.HasPrefix(v, "/") || strings.HasPrefix(v, "http") {
				q[name][i] = there
			}
		}
	}
	for _, n := range nextParams {
		if !q.Has(n) {
			q.Set(n, there)
		}
	}
	at.RawQuery = q.Encode()
	form, err := guest.browser.Open(ctx, at.String())
	if err != nil || !w.hasLogIn(form.Final()) {
		return nil // refused at once, which is as good
	}
	values := map[string]string{w.target.Login.UserField: p.user.Name, w.target.Login.PassField: p.user.Password}
	for _, f := range farmspec.Forms(form.Final()) {
		for _, field := range f.Fields {
			if f.Has(w.target.Login.PassField) && field.Type == "hidden" && (strings.HasPrefix(field.Value, "/") || strings.HasPrefix(field.Value, "http")) {
				values[field.Name] = there
			}
		}
	}
	in, err := guest.browser.Submit(ctx, form, "", values)
	if err != nil {
		return &failedControl{fmt.Sprintf("%s cannot sign in: %v", p.name, err)}
	}
	w.wire.shown = append(w.wire.shown, in.Exchanges...)
	return nil
}

func (w *world) sentNowhereElse() error {
	const expected = "redirects to the farm alone"
	for _, x := range w.wire.shown {
		to, err := url.Parse(x.Location())
		if err == nil && to.Host == w.wire.elsewhere.host {
			return w.expect(false, x, expected, "a redirect to the other site")
		}
	}
	return w.expect(true, nil, expected, fmt.Sprintf("none of %d answers leads to the other site", len(w.wire.shown)))
}

// followsLinkOut goes from the person's last page to a site that has nothing
// to do with the farm, over plain HTTP.
func (w *world) followsLinkOut(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	e, err := w.otherSite(ctx)
	if err != nil {
		return err
	}
	if p.last == nil || p.last.visit == nil {
		return &failedControl{name + " is on no page"}
	}
	visit, err := p.browser.Clone(name+", elsewhere").Follow(ctx, p.last.visit, "http://"+e.host+"/")
	if err != nil {
		return fmt.Errorf("follow a link to another site: %w", err)
	}
	if x := visit.Final(); x.Err != nil {
		return fmt.Errorf("follow a link to another site: %w", x.Err)
	}
	return nil
}

func (w *world) pagesSetReferrerPolicy() error {
	pages := w.pagesOf(w.wire.who)
	if len(pages) == 0 {
		return &failedControl{"no page of hers was shown"}
	}
	for _, x := range pages {
		switch policy := farmspec.PolicyOf(x); policy {
		case "":
			return w.expect(false, x, "a policy for referrers on every page, by header, <meta> or element", "this page has none")
		case farmspec.UnsafeURL, farmspec.NoReferrerWhenDowngrade:
			return w.expect(false, x, "a policy that tells other sites no more than the host", "it is "+string(policy))
		}
	}
	return w.expect(true, pages[0], "a policy for referrers on every page", fmt.Sprintf("all %d have one", len(pages)))
}

func (w *world) otherSiteLearnsHost() error {
	said, ok := w.wire.elsewhere.referred()
	if !ok {
		return fmt.Errorf("look at what the other site learned: nobody came")
	}
	u, err := url.Parse(said)
	bare := said == "" || err == nil && (u.Path == "" || u.Path == "/") && u.RawQuery == ""
	return w.expect(bare, w.wire.who.last.final(), "a Referer without path and query, or none", want(bare, "the whole address of the page")+want(!bare, "no more than the host"))
}

func (w *world) otherSiteLearnsNothing() error {
	said, ok := w.wire.elsewhere.referred()
	if !ok {
		return fmt.Errorf("look at what the other site learned: nobody came")
	}
	return w.expect(said == "", w.wire.who.last.final(), "no Referer from a protected page to an unprotected address", want(said == "", "one was sent")+want(said != "", "none was sent"))
}

// cacheControl are the directives of an answer, in lower case.
func cacheControl(x *farmspec.Exchange) map[string]bool {
	set := map[string]bool{}
	for d := range strings.SplitSeq(strings.ToLower(strings.Join(x.Header.Values("Cache-Control"), ",")), ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(d), "=")
		set[name] = true
	}
	return set
}

func (w *world) noBrowserKeepsPages() error {
	pages := w.pagesOf(w.wire.who)
	if len(pages) == 0 {
		return &failedControl{"no page of hers was shown"}
	}
	for _, x := range pages {
		if !cacheControl(x)["no-store"] {
			return w.expect(false, x, "Cache-Control: no-store on every page of hers", "this page has "+or(strings.Join(x.Header.Values("Cache-Control"), ", "), "none"))
		}
	}
	return w.expect(true, pages[0], "Cache-Control: no-store on every page of hers", fmt.Sprintf("all %d have it", len(pages)))
}

// sharedCacheMayReuse reports whether a shared cache may store an answer and
// use it again unasked (RFC 9111, sections 3 and 4): one to a GET that says
// so, or says nothing and has a status that caches keep by themselves.
func sharedCacheMayReuse(x *farmspec.Exchange) bool {
	d := cacheControl(x)
	says := d["public"] || d["max-age"] || d["s-maxage"] || x.Header.Get("Expires") != ""
	return x.Method == http.MethodGet && !d["no-store"] && !d["private"] && !d["no-cache"] && (says || farmspec.CacheableStatus(x.Status))
}

func (w *world) noCacheKeepsTokens(ctx context.Context) error {
	all, err := w.sessionCookies(ctx, w.wire.who)
	if err != nil {
		return err
	}
	for _, c := range all {
		if sharedCacheMayReuse(c.by) {
			return w.expect(false, c.by, "Cache-Control: no-store, private or no-cache on an answer that sets a session cookie", "this one has "+or(strings.Join(c.by.Header.Values("Cache-Control"), ", "), "none"))
		}
	}
	return w.expect(true, all[0].by, "no answer with a session cookie that a shared cache may use again", fmt.Sprintf("none of %d", len(all)))
}

// tokensSentPlain brings a person's tokens to each server over HTTP without
// TLS: at the same port, and at HTTP's own where the server has that of HTTPS.
// Whoever does not answer there serves nothing.
func (w *world) tokensSentPlain(ctx context.Context, name string) error {
	p, err := w.signedIn(ctx, name)
	if err != nil {
		return err
	}
	w.wire.who = p
	var pairs []string
	for _, c := range p.browser.AllCookies() {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	for _, m := range w.target.Members {
		u, err := url.Parse(m.At(w.home(m).Path))
		if err != nil {
			return fmt.Errorf("address of %s: %w", m.Name, err)
		}
		u.Scheme = "http"
		if port := u.Port(); port == "" || port == "443" {
			u.Host = u.Hostname()
		}
		address := u
		if w.target.Carrier.Kind != "cookie" {
			address = w.target.Carrier.With(u, p.current().value)
		}
		w.wire.plain = append(w.wire.plain, w.raw(ctx, name+", without TLS", address.String(), hostileRequest{
			method: http.MethodGet, target: address.RequestURI(), header: []string{"Cookie: " + strings.Join(pairs, "; "), "Accept: text/html"},
		}))
	}
	return ctx.Err()
}

func (w *world) nothingServedPlain() error {
	p := w.wire.who
	for _, x := range w.wire.plain {
		const expected = "no page and no session cookie without TLS"
		if x.Err == nil && strings.Contains(string(x.Body), w.target.Echo(p.user.Name)) {
			return w.expect(false, x, expected, "her page")
		}
		for _, c := range x.SetCookies() {
			if c.Name == w.target.Carrier.Name && c.Value != "" && c.MaxAge >= 0 {
				return w.expect(false, x, expected, "the cookie "+c.Name)
			}
		}
		how := "no answer"
		if x.Err == nil {
			how = fmt.Sprintf("status %d", x.Status)
		}
		if err := w.expect(true, x, expected, how); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) noAddressIsPlain() error {
	const expected = "addresses of the farm over TLS alone"
	hosts := map[string]bool{}
	for _, m := range w.target.Members {
		if u, err := url.Parse(m.URL); err == nil {
			hosts[u.Hostname()] = true
		}
	}
	all := w.addresses(w.wire.who)
	for _, a := range all {
		if u, err := url.Parse(a.url); err == nil && u.Scheme == "http" && hosts[u.Hostname()] {
			return w.expect(false, a.by, expected, "this answer leads to "+u.Scheme+"://"+u.Host)
		}
	}
	return w.expect(true, w.wire.who.last.final(), expected, fmt.Sprintf("all %d", len(all)))
}

var maxAge = regexp.MustCompile(`(?i)(?:^|;)\s*max-age\s*=\s*"?(\d+)`)

// everyServerTellsTLS asks for Strict-Transport-Security with a time above
// zero on the pages of each server (RFC 6797, section 6.1). Browsers keep no
// such rule for a host without a name (section 8.1.1), so none is asked there.
func (w *world) everyServerTellsTLS() error {
	p := w.wire.who
	pages, named := w.pagesOf(p), false
	for _, m := range w.target.Members {
		if u, err := url.Parse(m.URL); err != nil || net.ParseIP(u.Hostname()) != nil {
			continue
		}
		named = true
		i := slices.IndexFunc(pages, func(x *farmspec.Exchange) bool {
			by, ok := w.target.MemberOf(x.URL)
			return ok && by.Name == m.Name
		})
		if i < 0 {
			return &failedControl{"no page of " + m.Name + " was shown"}
		}
		expected := "Strict-Transport-Security with max-age above 0 on pages of " + m.Name
		said := pages[i].Header.Get("Strict-Transport-Security")
		age := maxAge.FindStringSubmatch(said)
		if ok := age != nil && strings.Trim(age[1], "0") != ""; !ok {
			return w.expect(false, pages[i], expected, or(said, "none"))
		}
		if err := w.expect(true, pages[i], expected, said); err != nil {
			return err
		}
	}
	if !named {
		return &notOffered{"the servers have addresses and no names"}
	}
	return nil
}

// callsWithoutTLS makes calls that the service answers, with a server's own
// credential, over HTTP without TLS.
func (w *world) callsWithoutTLS(ctx context.Context) error {
	at, err := url.Parse(w.hooks.Service.Endpoint())
	if err != nil {
		return fmt.Errorf("address of the session service: %w", err)
	}
	if at.Scheme != "https" {
		return w.expect(false, nil, "a session service that is called over TLS", "its address begins with "+at.Scheme+"://")
	}
	for _, m := range w.target.Members {
		header := http.Header{"Content-Type": {"application/json"}}
		if err := w.hooks.Service.Authorize(header, m.Name); err != nil {
			return fmt.Errorf("call the session service as %s: %w", m.Name, err)
		}
		for _, secret := range header.Values("Authorization") {
			w.keepSecret(secret)
		}
		var lines []string
		for name := range header {
			lines = append(lines, name+": "+header.Get(name))
		}
		slices.Sort(lines)
		for _, call := range []hostileRequest{{method: http.MethodGet, target: "/v1/time"}, {method: http.MethodPost, target: "/v1/verify", body: "{}"}} {
			call.target, call.header = at.Path+call.target, lines
			w.wire.plain = append(w.wire.plain, w.raw(ctx, m.Name+", without TLS", "http://"+at.Host, call))
		}
	}
	return ctx.Err()
}

// noCallAnswered takes an answer in JSON for the service's own: what turns the
// connection away knows nothing of the calls.
func (w *world) noCallAnswered() error {
	const expected = "no answer of the service without TLS"
	for _, x := range w.wire.plain {
		if x.Err == nil && (x.Status/100 == 2 || strings.Contains(x.Header.Get("Content-Type"), "json")) {
			return w.expect(false, x, expected, fmt.Sprintf("status %d", x.Status))
		}
	}
	return w.expect(true, nil, expected, fmt.Sprintf("none to %d calls", len(w.wire.plain)))
}

func (w *world) compareCredentials() error {
	for _, m := range w.target.Members {
		header := http.Header{}
		if err := w.hooks.Service.Authorize(header, m.Name); err != nil {
			return fmt.Errorf("call the session service as %s: %w", m.Name, err)
		}
		var lines []string
		for name, values := range header {
			for _, v := range values {
				w.keepSecret(v)
				lines = append(lines, name+": "+v)
			}
		}
		slices.Sort(lines)
		w.wire.credentials = append(w.wire.credentials, strings.Join(lines, "\n"))
	}
	return nil
}

func (w *world) credentialsDiffer() error {
	const expected = "a credential of its own for each server"
	seen := map[string]string{}
	for i, c := range w.wire.credentials {
		m := w.target.Members[i].Name
		if c == "" {
			return w.expect(false, nil, expected, m+" sends none")
		}
		if other, ok := seen[c]; ok {
			return w.expect(false, nil, expected, m+" and "+other+" have the same")
		}
		seen[c] = m
	}
	return w.expect(true, nil, expected, fmt.Sprintf("%d different ones", len(seen)))
}
